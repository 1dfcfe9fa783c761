#include "method/data/image_source.h"

#include "method/registry.h"
#include "storage/files/hash.h"

#include <fmt/format.h>

namespace couplet {

#define MEMBER(name) SourceKind name##_source();
#include "method/data/sources/members.list"
#undef MEMBER

const std::vector<SourceKind>& source_kinds() {
  static const std::vector<SourceKind> kinds{
#define MEMBER(name) name##_source(),
#include "method/data/sources/members.list"
#undef MEMBER
  };
  return kinds;
}

const SourceKind& find_source(const std::string& name) {
  return find_kind(source_kinds(), name, "image source");
}

std::string SourceImages::image_name(std::int64_t image) const {
  return fmt::format("image {} of {}", image, name());
}

std::string files_hash(const std::vector<std::filesystem::path>& files) {
  std::string hashes;
  for (const std::filesystem::path& file : files) hashes += hash_file(file) + "\n";
  return hash_text(hashes);
}

}  // namespace couplet
