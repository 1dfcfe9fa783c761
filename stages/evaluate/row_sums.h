// Sums over rows of an evaluation, which an interrupted one goes on with.
#pragma once

#include "pipeline/distributed/slices.h"
#include "pipeline/run/stage_context.h"

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>

namespace couplet {

/// Where the samples counted so far of the score under way are kept, in the node's directory. `what` tells the score
/// from the node's others.
SliceJournal journal_of(const StageContext& context, const std::string& what);

/// The sums over rows, float64 [figures], of what `measure(first, count)` makes of a slice: float64 [count, figures],
/// always a slice of full size. The same digits on any number of ranks and from the journal. Collective.
at::Tensor sums_over_rows(const StageContext& context, const std::string& what, std::int64_t rows, std::int64_t figures,
                          const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& measure);

}  // namespace couplet
