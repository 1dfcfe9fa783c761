// Pairs that were made elsewhere.
#include "method/couplings/table_coupling.h"

namespace couplet {

CouplingKind imported_coupling() {
  return {.name = "imported",
          .help = "the pairs of a table made elsewhere (couplet import), whose directory couple.NAME.source says",
          .made_by = "adoption",
          .table_is_named = true,
          .keys = {"student.table"},
          .make = make_table_coupling};
}

}  // namespace couplet
