// frechet_2048: Fréchet distances a second between two sets of 2048 features (moments given; all of the distance)
// against scipy.linalg.sqrtm of the product of the same covariances (bench/frechet_peer.py), which the usual
// implementations spend their time in; both sides with the same number of threads.
// frechet_2048_moments: what the moments of 50000 x 2048 features, covariance included, add to the process's memory.
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/memory.h"
#include "bench/peer.h"
#include "method/metrics/frechet.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

namespace couplet {
namespace {

constexpr std::int64_t dimension = 2048, rows = 50000, slice_rows = 250;

/// Moments of features whose variances fall off as those of image features do.
Moments synthetic_moments(std::uint64_t seed) {
  at::manual_seed(seed);
  const at::Tensor mixing = at::randn({dimension, dimension}) / std::sqrt(static_cast<double>(dimension));
  const at::Tensor scales = (at::arange(dimension, at::kFloat) / -300).exp();
  Moments moments(dimension);
  for (int slice = 0; slice < 10; ++slice)
    moments.add((at::randn({500, dimension}) * scales).mm(mixing) + static_cast<double>(seed));
  return moments;
}

void write_covariance(const fs::path& path, const Moments& moments) {
  const at::Tensor covariance = moments.covariance();
  publish_file(path, std::string(static_cast<const char*>(covariance.const_data_ptr()), covariance.nbytes()));
}

/// Σ of the roots of the product's eigenvalues, from the distance.
double cross_trace(const Moments& a, const Moments& b, double distance) {
  const double means = (a.mean() - b.mean()).square().sum().item<double>();
  return (means + a.covariance().trace().item<double>() + b.covariance().trace().item<double>() - distance) / 2;
}

void compare() {
  const BenchDirectory folder;
  const Moments a = synthetic_moments(1), b = synthetic_moments(2);
  write_covariance(folder / "a", a);
  write_covariance(folder / "b", b);
  PeerProcess scipy("frechet_peer.py",
                    {(folder / "a").string(), (folder / "b").string(), std::to_string(dimension),
                     std::to_string(at::get_num_threads())},
                    PeerPython::systems);
  RatePairs rates;
  double distance = frechet_distance(a, b);  // what LibTorch does once
  for (int round = 0; round < bench_setting("COUPLET_BENCH_ROUNDS", 3); ++round) {
    const double seconds = seconds_of([&] { distance = frechet_distance(a, b); });
    rates.add(1 / seconds, 1 / scipy.ask("seconds"));
  }
  rates.print("frechet_2048", "distances/s");
  fmt::print("bench frechet_2048_digits ours={:.10g} theirs={:.10g} (trace of the root of the covariances' product)\n",
             cross_trace(a, b, distance), scipy.ask("trace"));
}

/// MiB that all of it takes at most.
double moments_memory() {
  at::manual_seed(1);
  const at::Tensor slice = at::randn({slice_rows, dimension});
  Moments(dimension).add(slice);  // what LibTorch takes once
  return memory_growth([&] {
    Moments moments(dimension);
    for (std::int64_t first = 0; first < rows; first += slice_rows) moments.add(slice);
    moments.covariance();
  });
}

}  // namespace
}  // namespace couplet

int main(int count, char**) {
  using namespace couplet;
  if (count > 1) {
    fmt::print("{}\n", moments_memory());
    return 0;
  }
  compare();
  fmt::print("bench frechet_2048_moments rows={} MiB={:.1f}\n", rows, in_own_process("moments"));
}
