#include "stages/drawn_pairs.h"

#include "method/statistics/coupling_quality.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace couplet {
namespace {

/// The pairs of one step's global batch, in their order, on rank 0; undefined on the others. Collective.
Pairs draw_for_root(Coupling& coupling, std::int64_t step, std::int64_t batch, Communicator& communicator) {
  const std::int64_t own = batch / communicator.size();
  Pairs drawn;
  coupling.agree(step);
  run_on_all(communicator, [&] {
    drawn = coupling.draw({step, step * batch + communicator.rank() * own, own, batch});
  });
  for (at::Tensor* rows : {&drawn.image, &drawn.noise, &drawn.label}) {
    *rows = communicator.gather_at_root(rows->contiguous());
    if (rows->defined()) *rows = rows->flatten(0, 1);
  }
  return drawn;
}

}  // namespace

nlohmann::ordered_json judge_drawn_pairs(Coupling& coupling, std::int64_t steps, std::int64_t batch,
                                         std::int64_t images, Communicator& communicator) {
  std::vector<at::Tensor> seen, noises, labels;
  std::int64_t wanted = 1, rows = 0;
  for (; rows < wanted; rows += batch, ++steps) {
    note_progress("drawing pairs to judge the coupling by");
    const Pairs pairs = draw_for_root(coupling, steps, batch, communicator);
    std::int64_t values = 0;
    if (communicator.is_root()) {
      values = pairs.image[0].numel();
      seen.push_back(pairs.image);
      noises.push_back(pairs.noise);
      labels.push_back(pairs.label);
    }
    if (rows == 0) wanted = std::min(images, judged_rows(communicator.maximum(values)));
  }
  if (!communicator.is_root()) return nullptr;
  const WorkingAlone alone("judging the coupling");
  const auto first = [wanted](const std::vector<at::Tensor>& steps_rows) {
    return at::cat(steps_rows).narrow(0, 0, wanted);
  };
  return judge_pairs(first(seen), first(noises), first(labels));
}

}  // namespace couplet
