#include "stages/evaluate/solver_errors.h"

#include "method/sampling/guided_field.h"
#include "method/sampling/initial_noise.h"
#include "stages/results/score_record.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

namespace couplet {

Integration reference_integration() {
  return fixed_integration(Solver::rk4, Grid::squared, 512);
}

void measure_solver_errors(Evaluation& evaluation, const std::vector<ScoreRequest>& requests) {
  const ScoreKey& first_key = requests.front().key;
  const StudentFlow flow =
      evaluation.flow({first_key.ema, {first_key.guidance, first_key.guidance_from, first_key.guidance_to}});
  const auto seed = static_cast<std::uint64_t>(first_key.sampling_seed);
  const std::int64_t samples = evaluation.config().tolerance_samples;
  // Two figures a request: the squared error of a sample, and the evaluations that its batch took.
  const auto measure = [&](std::int64_t first, std::int64_t count) {
    const InitialNoise initial = evaluation.student_noise(seed, first, count).to(evaluation.context.device);
    const auto sample = [&](const Integration& integration) {
      return integrate(flow.velocity(initial.condition), flow.start(initial.z, initial.condition), integration);
    };
    const at::Tensor reference = sample(reference_integration()).x.to(at::kDouble);
    std::vector<at::Tensor> figures;
    for (const ScoreRequest& request : requests) {
      const Integrated made = sample(adaptive_integration({request.key.atol, request.key.rtol}));
      figures.push_back((made.x.to(at::kDouble) - reference).square().flatten(1).mean(1).cpu());
      figures.push_back(at::full({count}, static_cast<double>(made.nfe), at::kDouble));
    }
    return at::stack(figures, 1);
  };
  // What is kept of a stopped measurement has a column a tolerance.
  ScoreRequest together = requests.front();
  for (const ScoreRequest& request : requests)
    together.with[fmt::format("tolerance {}", request.key.rtol)] = "measured";
  const at::Tensor means =
      evaluation.sums_over_rows(together, samples, 2 * std::ssize(requests), measure) / static_cast<double>(samples);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto figure = 2 * static_cast<std::int64_t>(i);
    const double evaluations = means[figure + 1].item<double>();
    ScoreKey key = requests[i].key;
    key.nfe = std::llround(evaluations);
    evaluation.keep(key, requests[i].with, requests[i].last_metric, std::sqrt(means[figure].item<double>()), samples,
                    {{"nfe_mean", evaluations}, {"compared_with", reference_integration().text()}});
  }
}

}  // namespace couplet
