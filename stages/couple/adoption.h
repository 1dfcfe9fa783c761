// Tables that were made elsewhere and are read where they lie.
#pragma once

#include "pipeline/run/stage_context.h"

namespace couplet {

/// Refuses a table of couple.NAME.source that cannot train this run's students: one that is not whole, of another data
/// set or shape, or with labels that the data set lacks. Nothing is copied; RUN/coupling/NAME/adopted.json says what
/// was found. Collective.
void adopt_table(StageContext& context);

}  // namespace couplet
