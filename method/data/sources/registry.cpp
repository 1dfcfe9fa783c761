// The kinds of image sources there are.
#include "method/registry.h"
#include "method/data/image_source.h"

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

}  // namespace couplet
