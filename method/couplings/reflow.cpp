// Fresh noise with the image that a trained student carries it to.
#include "method/couplings/table_coupling.h"

namespace couplet {

CouplingKind reflow_coupling() {
  return {.name = "reflow",
          .help =
              "noise with the image that the flow of another student (student.reflow-of) carries it to "
              "(rectified flow, arXiv 2209.03003)",
          .made_by = "reflow",
          .table = "reflow",
          .table_is_named = true,
          .keys = {"student.reflow-of"},
          .make = make_table_coupling};
}

}  // namespace couplet
