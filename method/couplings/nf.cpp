// Each image with the noise that the teacher carries it to.
#include "method/couplings/table_coupling.h"

namespace couplet {

CouplingKind nf_coupling() {
  return {.name = "nf",
          .help = "each image with the noise that the teacher carries it to (NFM, arXiv 2603.09014)",
          .made_by = "inversion",
          .table = "nf",
          .make = make_table_coupling};
}

}  // namespace couplet
