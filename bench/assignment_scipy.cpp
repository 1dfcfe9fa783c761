// assignment_scipy: assignments of 1024 images to 1024 noises a second, by the project's solver against
// scipy.optimize.linear_sum_assignment (bench/assignment_peer.py) on the same matrix of squared distances; one thread
// each. assignment_scipy_256 and _4096: the same of other sizes. assignment_lemon_*: against LEMON's network simplex,
// where its headers are there; its graph is built before. The sums of costs are printed, too.
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/peer.h"
#include "method/transport/assignment.h"
#include "method/transport/batch_assignment.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#if __has_include(<lemon/network_simplex.h>)
#include <lemon/network_simplex.h>
#include <lemon/static_graph.h>
#define COUPLET_LEMON
#endif

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

/// What one of both sides has made of a matrix.
struct Solved {
  double seconds = 0, cost = 0;
};

#ifdef COUPLET_LEMON
/// A transportation problem of n sources and n sinks, with an arc from each of the former to each of the latter.
class LemonSimplex {
public:
  LemonSimplex(std::span<const float> costs, std::int64_t n) : cost_(graph_), supply_(graph_) {
    std::vector<std::pair<int, int>> arcs;
    arcs.reserve(costs.size());
    for (int row = 0; row < n; ++row)
      for (int column = 0; column < n; ++column) arcs.emplace_back(row, static_cast<int>(n) + column);
    graph_.build(static_cast<int>(2 * n), arcs.begin(), arcs.end());
    for (int arc = 0; arc < std::ssize(costs); ++arc)
      cost_[lemon::StaticDigraph::arcFromId(arc)] = static_cast<double>(costs[static_cast<std::size_t>(arc)]);
    for (int node = 0; node < 2 * n; ++node) supply_[lemon::StaticDigraph::nodeFromId(node)] = node < n ? 1 : -1;
  }

  Solved solve() {
    Solved solved;
    Simplex simplex(graph_);
    simplex.costMap(cost_).supplyMap(supply_);
    solved.seconds = seconds_of([&] {
      if (simplex.run() != Simplex::OPTIMAL) fail("LEMON has found no optimum");
    });
    solved.cost = simplex.totalCost();
    return solved;
  }

private:
  using Simplex = lemon::NetworkSimplex<lemon::StaticDigraph, int, double>;
  lemon::StaticDigraph graph_;
  lemon::StaticDigraph::ArcMap<double> cost_;
  lemon::StaticDigraph::NodeMap<int> supply_;
};
#endif

void print(const std::string& name, const RatePairs& rates, double ours, double theirs) {
  rates.print(name, "assignments/s");
  fmt::print("bench {}_digits ours={:.10g} theirs={:.10g} (sum of the costs)\n", name, ours, theirs);
}

void compare(std::int64_t n, int rounds, const std::string& suffix) {
  const BenchDirectory folder;
  const at::Tensor cost = distances(n);
  publish_file(folder / "cost", std::string(static_cast<const char*>(cost.const_data_ptr()), cost.nbytes()));
  PeerProcess scipy("assignment_peer.py", {(folder / "cost").string(), std::to_string(n)}, PeerPython::systems);
  const std::span<const float> costs(cost.const_data_ptr<float>(), static_cast<std::size_t>(cost.numel()));
  RatePairs beside_scipy, beside_lemon;
  Solved ours, lemons;
#ifdef COUPLET_LEMON
  LemonSimplex lemon(costs, n);
#endif
  for (int round = 0; round < rounds; ++round) {
    ours.seconds = seconds_of([&] { ours.cost = solve_assignment(costs, n).cost; });
    beside_scipy.add(1 / ours.seconds, 1 / scipy.ask("seconds"));
#ifdef COUPLET_LEMON
    lemons = lemon.solve();
    beside_lemon.add(1 / ours.seconds, 1 / lemons.seconds);
#endif
  }
  print("assignment_scipy" + suffix, beside_scipy, ours.cost, scipy.ask("cost"));
  if (lemons.seconds > 0)
    print("assignment_lemon" + suffix, beside_lemon, ours.cost, lemons.cost);
  else
    fmt::print("bench assignment_lemon{} skipped: there are no headers of LEMON (scripts/setup bench)\n", suffix);
}

}  // namespace
}  // namespace couplet

int main() {
  using namespace couplet;
  compare(1024, bench_rounds(), "");
  compare(256, bench_rounds(), "_256");
  compare(4096, 1, "_4096");
}
