// Archives of images, zip and tar. The input is read as it is; as a tar archive, also with right checksums in its
// blocks, which are hard to find.
#include "storage/archives/file_set.h"
#include "storage/archives/tar_header.h"
#include "tests/fuzz/fuzzed_file.h"

#include <cstdio>

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_files(std::string_view bytes) {
  const FuzzedFile file(bytes);
  read_or_refuse([&] {
    const auto files = open_file_set(file.path());
    for (std::int64_t i = 0; i < files->count(); ++i) {
      require(i == 0 || path_less(files->name(i - 1), files->name(i)));
      require(files->find(files->name(i)) == i && !files->shown(i).empty());
      read_or_refuse([&] { require(files->read(i).size() == files->size(i)); });
    }
    for (const std::string& folder : files->empty_folders()) require(!files->has_files_in(folder));
    require(!files->stamp().empty());
  });
}

std::string with_checksums(std::string_view bytes) {
  constexpr std::size_t first = 148, length = 8;
  std::string fixed(bytes);
  for (std::size_t block = 0; block + tar_block <= fixed.size(); block += tar_block) {
    if (fixed[block] == '\0') continue;
    fixed.replace(block + first, length, length, ' ');
    unsigned sum = 0;
    for (std::size_t i = 0; i < tar_block; ++i) sum += static_cast<unsigned char>(fixed[block + i]);
    char text[length + 1];
    std::snprintf(text, sizeof text, "%06o", sum);
    fixed.replace(block + first, length - 1, text, length - 1);
  }
  return fixed;
}

}  // namespace

void fuzz_input(std::string_view input) {
  read_files(input);
  if (!input.starts_with("PK")) read_files(with_checksums(input));
}
