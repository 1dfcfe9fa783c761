#include "method/data/image_source.h"

#include "storage/files/hash.h"

#include <fmt/format.h>

namespace couplet {

std::string SourceImages::image_name(std::int64_t image) const {
  return fmt::format("image {} of {}", image, name());
}

std::string files_hash(const std::vector<std::filesystem::path>& files) {
  std::string hashes;
  for (const std::filesystem::path& file : files) hashes += hash_file(file) + "\n";
  return hash_text(hashes);
}

}  // namespace couplet
