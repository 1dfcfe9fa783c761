// Images, pairs and statistics of others: .npz archives, archives of them, and .npy files. The input is read as an
// archive; or as a file, and as the array of an archive that is sound, since few inputs are archives.
#include "storage/formats/npz.h"
#include "storage/formats/foreign_tree.h"
#include "tests/fuzz/fuzzed_file.h"

#include <zlib.h>

using namespace couplet;
using namespace couplet::fuzz;

namespace {

std::string little_endian(std::uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(number >> (8 * i) & 0xff);
  return text;
}

/// A zip archive (APPNOTE.TXT) of one entry, "a.npy", that is stored as it is.
std::string archive_of(std::string_view entry) {
  constexpr std::string_view name = "a.npy";
  const auto* bytes = reinterpret_cast<const Bytef*>(entry.data());
  const std::string facts = little_endian(20, 2) + little_endian(0, 4) + little_endian(0, 4) +
                            little_endian(crc32(0, bytes, static_cast<uInt>(entry.size())), 4) +
                            little_endian(entry.size(), 4) + little_endian(entry.size(), 4) +
                            little_endian(name.size(), 2) + little_endian(0, 2);
  std::string archive = std::string("PK\3\4") + facts;
  archive += name;
  archive += entry;
  const std::size_t directory = archive.size();
  archive += std::string("PK\1\2") + little_endian(20, 2) + facts + std::string(14, '\0');
  archive += name;
  const std::size_t size = archive.size() - directory;
  return archive + "PK\5\6" + little_endian(0, 4) + little_endian(1, 2) + little_endian(1, 2) + little_endian(size, 4) +
         little_endian(directory, 4) + little_endian(0, 2);
}

void read_archive(std::string_view bytes) {
  const FuzzedFile file(bytes);
  read_or_refuse([&] { read_arrays(*open_npz(file.path())); });
  read_or_refuse([&] { read_arrays(*open_nested_npz(file.path())); });
}

}  // namespace

void fuzz_input(std::string_view input) {
  if (input.starts_with("PK")) return read_archive(input);
  read_archive(archive_of(input));
  const FuzzedFile file("X.npy", input);
  read_or_refuse([&] { read_arrays(*open_foreign_tree(file.path())); });
}
