// The registry of objectives, made from the lines of members.list.
#include "method/registry.h"
#include "method/objectives/objective.h"

namespace couplet {

#define MEMBER(name) ObjectiveKind name##_objective();
#include "method/objectives/members.list"
#undef MEMBER

const std::vector<ObjectiveKind>& objective_kinds() {
#define MEMBER(name) name##_objective(),
  static const std::vector<ObjectiveKind> kinds{
#include "method/objectives/members.list"
  };
#undef MEMBER
  return kinds;
}

const ObjectiveKind& find_objective(const std::string& name) {
  return find_kind(objective_kinds(), name, "objective");
}

}  // namespace couplet
