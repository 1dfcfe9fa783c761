// The registry of couplings, made from the lines of members.list.
#include "method/registry.h"
#include "method/couplings/coupling.h"

#include <algorithm>

namespace couplet {

#define MEMBER(name) CouplingKind name##_coupling();
#include "method/couplings/members.list"
#undef MEMBER

const std::vector<CouplingKind>& coupling_kinds() {
#define MEMBER(name) name##_coupling(),
  static const std::vector<CouplingKind> kinds{
#include "method/couplings/members.list"
  };
#undef MEMBER
  return kinds;
}

const CouplingKind& find_coupling(const std::string& name) {
  return find_kind(coupling_kinds(), name, "coupling");
}

bool is_baseline(const std::string& name) {
  const auto found = std::ranges::find(coupling_kinds(), name, &CouplingKind::name);
  return found != coupling_kinds().end() && found->is_baseline;
}

}  // namespace couplet
