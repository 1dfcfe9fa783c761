// sd_assign_64_numpy, sd_assign_64_torch, sd_assign_784_torch: noises a second for which the best of 60000 atoms is
// found, argmax_j ⟨z, x_j⟩ + b_j (method/transport/semidiscrete.h), in 64 or 784 dimensions, against products of blocks
// and argmax by numpy, or by torch, whose product is the one that we use (bench/sd_assign_peer.py); both sides with the
// same number of threads. The system's numpy may multiply without a fast BLAS: torch is the one to beat.
// sd_assign_digits: the share of noises for which both find the same atom.
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/peer.h"
#include "method/transport/semidiscrete.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t atoms = 60000, noises = 2048;

void write_values(const fs::path& path, const at::Tensor& values) {
  publish_file(path, std::string(static_cast<const char*>(values.const_data_ptr()), values.nbytes()));
}

void compare(std::int64_t dimension, const std::string& library) {
  const BenchDirectory folder;
  at::manual_seed(1);
  const at::Tensor scales = at::arange(1, dimension + 1, at::kFloat).pow(-0.75) * 8;
  const at::Tensor points = at::randn({atoms, dimension}) * scales, noise = at::randn({noises, dimension});
  const at::Tensor potentials = -4 * points.norm(2, 1);
  for (const auto& [name, values] : {std::pair{"points", points}, {"noise", noise}, {"potentials", potentials}})
    write_values(folder / name, values);
  PeerProcess peer(
      "sd_assign_peer.py",
      {(folder / "points").string(), (folder / "noise").string(), (folder / "potentials").string(),
       (folder / "chosen").string(), std::to_string(dimension), std::to_string(at::get_num_threads()), library},
      library == "torch" ? PeerPython::with_torch : PeerPython::systems);
  const AtomBlocks blocks({atoms});
  const auto alone = make_single_communicator();
  const auto block_points = [&](std::int64_t index) {
    return points.narrow(0, blocks.block(index).first, blocks.block(index).atoms).clone();
  };
  const Atoms owned(blocks, block_points, *alone, at::kCPU);
  const at::Tensor column = owned.own_column(potentials.to(at::kDouble));
  RatePairs rates;
  AtomChoice choice;
  for (int round = 0; round <= bench_setting("COUPLET_BENCH_ROUNDS", 5); ++round) {
    const double seconds = seconds_of([&] { choice = owned.choose(noise, column); });
    const double theirs = peer.ask("seconds");
    if (round > 0) rates.add(static_cast<double>(noises) / seconds, static_cast<double>(noises) / theirs);
  }
  rates.print(fmt::format("sd_assign_{}_{}", dimension, library), "noises/s");
  peer.ask("write");
  const std::string bytes = read_file(folder / "chosen");
  const at::Tensor theirs = at::from_blob(const_cast<char*>(bytes.data()), {noises}, at::kLong).clone();
  fmt::print("bench sd_assign_digits dimension={} library={} equal={:.5f}\n", dimension, library,
             choice.atom[0].eq(theirs).to(at::kDouble).mean().item<double>());
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::compare(64, "numpy");
  for (const std::int64_t dimension : {64, 784}) couplet::compare(dimension, "torch");
}
