// The registry of maps, made from the lines of members.list.
#include "method/registry.h"
#include "method/gaussianisation/gaussian_map.h"

namespace couplet {

#define MEMBER(name) GaussianMapKind name##_map();
#include "method/gaussianisation/members.list"
#undef MEMBER

const std::vector<GaussianMapKind>& gaussian_map_kinds() {
#define MEMBER(name) name##_map(),
  static const std::vector<GaussianMapKind> kinds{
#include "method/gaussianisation/members.list"
  };
#undef MEMBER
  return kinds;
}

const GaussianMapKind& find_gaussian_map(const std::string& name) {
  return find_kind(gaussian_map_kinds(), name, "map");
}

}  // namespace couplet
