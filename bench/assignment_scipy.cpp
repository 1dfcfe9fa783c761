// assignment_scipy: assignments of 1024 images to 1024 noises a second, by the project's solver against
// scipy.optimize.linear_sum_assignment (bench/assignment_peer.py) on the same matrix of squared distances; one thread
// each. assignment_scipy_256 and _4096: the same of other sizes. The sums of costs are printed, too.
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/peer.h"
#include "method/transport/assignment.h"
#include "method/transport/batch_assignment.h"

#include <ATen/ATen.h>

#include <cmath>
#include <span>

namespace couplet {
namespace {

constexpr std::int64_t values = 784;

/// Squared distances of images, whose spectrum falls as that of photographs, and noise: float32 [n, n].
at::Tensor distances(std::int64_t n) {
  at::manual_seed(1);
  const at::Tensor scales = at::arange(1, values + 1, at::kFloat).pow(-0.75) * 8;
  const at::Tensor mixing = at::randn({values, values}) / std::sqrt(static_cast<double>(values));
  return squared_distances((at::randn({n, values}) * scales).mm(mixing), at::randn({n, values}));
}

void compare(const std::string& name, std::int64_t n, int rounds) {
  const BenchDirectory folder;
  const at::Tensor cost = distances(n);
  publish_file(folder / "cost", std::string(static_cast<const char*>(cost.const_data_ptr()), cost.nbytes()));
  PeerProcess scipy("assignment_peer.py", {(folder / "cost").string(), std::to_string(n)}, PeerPython::systems);
  const std::span<const float> costs(cost.const_data_ptr<float>(), static_cast<std::size_t>(cost.numel()));
  RatePairs rates;
  double sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const double seconds = seconds_of([&] { sum = solve_assignment(costs, n).cost; });
    rates.add(1 / seconds, 1 / scipy.ask("seconds"));
  }
  rates.print(name, "assignments/s");
  fmt::print("bench {}_digits ours={:.10g} theirs={:.10g} (sum of the costs)\n", name, sum, scipy.ask("cost"));
}

}  // namespace
}  // namespace couplet

int main() {
  using namespace couplet;
  compare("assignment_scipy", 1024, bench_rounds());
  compare("assignment_scipy_256", 256, bench_rounds());
  compare("assignment_scipy_4096", 4096, 1);
}
