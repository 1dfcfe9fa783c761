// teacher_sample, teacher_sample_196: images a second of sampling from a TarFlow (batch 256, width 128, 4 blocks of 2
// layers, patches of 4x4 of 28x28 and 56x56 images: 49 and 196 tokens; float32, random weights) against
// apple/ml-tarflow's `reverse`, unmodified (bench/sampling_peer.py), at the same sizes and threads.
// teacher_sample_memory: what one call adds to the process's memory at 49, 196 and 784 tokens.
#include "bench/comparison.h"
#include "bench/memory.h"
#include "bench/peer.h"
#include "method/models/tarflow.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <memory>

namespace couplet {
namespace {

constexpr std::int64_t batch = 256;

/// A model for images of that size with the inputs of one call.
struct Sampling {
  TarFlow model;
  at::Tensor z, y = at::arange(batch).remainder(10);

  explicit Sampling(std::int64_t size) : model(make_tarflow({.image_size = size, .num_classes = 10}, 0)) {
    model->eval();
    z = at::randn({batch, model->options().tokens(), model->options().token_size()});
  }
  void call() { model->reverse(z, y); }
};

/// Calls until a round's seconds are over; images a second.
double rate_of(const std::function<double()>& seconds_of_call) {
  double seconds = 0;
  int calls = 0;
  for (; seconds < bench_seconds(); ++calls) seconds += seconds_of_call();
  return calls * static_cast<double>(batch) / seconds;
}

void compare(const std::string& name, std::int64_t size, PeerProcess* peer) {
  Sampling sampling(size);
  sampling.call();
  const auto ours = [&] { return seconds_of([&] { sampling.call(); }); };
  if (peer == nullptr) {
    fmt::print("bench {} ours={:.4g} theirs=skipped ratio=skipped (images/s, COUPLET_PEERS is unset)\n", name,
               rate_of(ours));
    return;
  }
  const auto theirs = [&] { return peer->ask(std::to_string(size)); };
  theirs();
  RatePairs rates;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double our_rate = rate_of(ours);
    rates.add(our_rate, rate_of(theirs));
  }
  rates.print(name, "images/s");
}

void run() {
  std::unique_ptr<PeerProcess> peer;
  if (const auto peers = peers_folder())
    peer = std::make_unique<PeerProcess>(
        "sampling_peer.py",
        std::vector<std::string>{*peers, std::to_string(batch), std::to_string(at::get_num_threads())});
  compare("teacher_sample", 28, peer.get());
  compare("teacher_sample_196", 56, peer.get());
  for (const std::int64_t size : {28, 56, 112})
    fmt::print("bench teacher_sample_memory tokens={} MiB={:.1f}\n", (size / 4) * (size / 4),
               in_own_process(fmt::format("memory {}", size)));
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  if (count == 1) run();
  if (count == 3) {
    Sampling(28).call();  // what LibTorch takes once
    Sampling sampling(std::atoll(words[2]));
    fmt::print("{}\n", memory_growth([&] { sampling.call(); }));
  }
}
