// Images, pairs and statistics of others: .npz archives, archives of them, and .npy files. The input is read as an
// archive; or as a file, and as the array of an archive that is sound, since few inputs are archives.
#include "storage/formats/npz.h"
#include "storage/formats/foreign_tree.h"
#include "tests/fuzz/fuzzed_file.h"
#include "tests/storage/formats/zip_archive.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_archive(std::string_view bytes) {
  const FuzzedFile file(bytes);
  read_or_refuse([&] { read_arrays(*open_npz(file.path())); });
  read_or_refuse([&] { read_arrays(*open_nested_npz(file.path())); });
}

}  // namespace

void fuzz_input(std::string_view input) {
  if (input.starts_with("PK")) return read_archive(input);
  read_archive(testing::zip_archive({{"a.npy", std::string(input)}}));
  const FuzzedFile file("X.npy", input);
  read_or_refuse([&] { read_arrays(*open_foreign_tree(file.path())); });
}
