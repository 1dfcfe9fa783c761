// Fresh noise with the image that a trained student carries it to.
#include "method/couplings/table_coupling.h"
#include "method/data/dataset.h"
#include "storage/error.h"

namespace couplet {
namespace {

/// What a flow makes of a low resolution has not quite that low resolution itself.
void check_reflow(const PairingOptions& options, const DatasetShape& shape, std::int64_t) {
  if (shape.low_resolution.is_given())
    refuse(
        "{}.coupling = reflow with prepare.condition = low-resolution: the images of its table are made by a student, "
        "whose low resolution is not that of the data; use a coupling of the data set's own images",
        options.section);
}

}  // namespace

CouplingKind reflow_coupling() {
  return {.name = "reflow",
          .help =
              "noise with the image that the flow of another student (student.reflow-of) carries it to "
              "(rectified flow, arXiv 2209.03003)",
          .made_by = "reflow",
          .table = "reflow",
          .table_is_named = true,
          .keys = {"student.reflow-of"},
          .check = check_reflow,
          .make = make_table_coupling};
}

}  // namespace couplet
