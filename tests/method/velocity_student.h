// A network taken as a student's default: the velocity along the straight path.
#pragma once

#include "method/sampling/guided_field.h"

#include <memory>

namespace couplet::testing {

inline StudentModel velocity_student(std::shared_ptr<Field> field) {
  return {std::move(field), find_objective("velocity").make(find_path("linear").make({}), {})};
}

}  // namespace couplet::testing
