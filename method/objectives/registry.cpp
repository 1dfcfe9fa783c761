// The registry of objectives, made from the lines of members.list.
#include "method/registry.h"
#include "method/objectives/objective.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace couplet {

#define MEMBER(name) ObjectiveKind name##_objective();
#include "method/objectives/members.list"
#undef MEMBER

const std::vector<ObjectiveKind>& objective_kinds() {
#define MEMBER(name) name##_objective(),
  static const std::vector<ObjectiveKind> kinds{
#include "method/objectives/members.list"
#include "storage/error.h"
  };
#undef MEMBER
  return kinds;
}

const ObjectiveKind& find_objective(const std::string& name) {
  return find_kind(objective_kinds(), name, "objective");
}

std::shared_ptr<const Objective> make_objective(const std::string& name, std::shared_ptr<const Path> path,
                                                const ObjectiveOptions& options) {
  const ObjectiveKind& kind = find_objective(name);
  if (std::ranges::find(kind.time_laws, options.time_law) == kind.time_laws.end())
    refuse("{0}.time-law = {1}: {0}.objective = {2} goes with {0}.time-law = {3}", options.section, options.time_law,
           name, fmt::join(kind.time_laws, " or "));
  return kind.make(std::move(path), options);
}

}  // namespace couplet
