// The registry of paths, made from the lines of members.list.
#include "method/registry.h"
#include "method/paths/path.h"

namespace couplet {

#define MEMBER(name) PathKind name##_path();
#include "method/paths/members.list"
#undef MEMBER

const std::vector<PathKind>& path_kinds() {
#define MEMBER(name) name##_path(),
  static const std::vector<PathKind> kinds{
#include "method/paths/members.list"
  };
#undef MEMBER
  return kinds;
}

const PathKind& find_path(const std::string& name) {
  return find_kind(path_kinds(), name, "path");
}

}  // namespace couplet
