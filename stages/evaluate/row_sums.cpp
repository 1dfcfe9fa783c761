#include "stages/evaluate/row_sums.h"

#include <torch/torch.h>

#include <algorithm>

namespace couplet {

SliceJournal journal_of(const StageContext& context, const std::string& what) {
  return {context.directory() / "score-under-way",
          fmt::format("couplet {}, {} {}: {}", COUPLET_VERSION, context.node.name, context.fingerprint, what)};
}

at::Tensor sums_over_rows(const StageContext& context, const std::string& what, std::int64_t rows, std::int64_t figures,
                          const std::function<at::Tensor(std::int64_t first, std::int64_t count)>& measure) {
  const torch::NoGradGuard no_grad;
  const std::int64_t slice = std::min(context.config.evaluate.slice_rows, rows);
  at::Tensor sum = torch::zeros({figures}, torch::kFloat64);
  for_each_slice(
      context.communicator,
      {.rows = rows,
       .slice_rows = slice,
       .columns = figures,
       .stopped = "evaluation stopped; finished scores and the samples counted so far are kept",
       .journal = journal_of(context, what)},
      [&](std::int64_t first) { return measure(first, slice); },
      [&](const at::Tensor& values) { sum += values.sum(0); });
  return sum;
}

}  // namespace couplet
