// The registry of fields, made from the lines of members.list.
#include "method/registry.h"
#include "method/models/field.h"

namespace couplet {

#define MEMBER(name) FieldKind name##_field();
#include "method/models/fields/members.list"
#undef MEMBER

const std::vector<FieldKind>& field_kinds() {
#define MEMBER(name) name##_field(),
  static const std::vector<FieldKind> kinds{
#include "method/models/fields/members.list"
  };
#undef MEMBER
  return kinds;
}

const FieldKind& find_field(const std::string& name) {
  return find_kind(field_kinds(), name, "field");
}

}  // namespace couplet
