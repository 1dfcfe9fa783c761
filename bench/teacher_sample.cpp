// teacher_sample: images a second of sampling from a TarFlow (batch 256, 49 tokens, width 128, 4 blocks of 2 layers,
// random weights) against apple/ml-tarflow's `reverse` in PyTorch, the same sizes and threads. Needs
// COUPLET_PEERS/ml-tarflow/transformer_flow.py and a python3 with torch (COUPLET_PYTHON).
#include "bench/comparison.h"
#include "stages/teacher/tarflow.h"
#include "storage/error.h"

#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>

namespace couplet {
namespace {

constexpr char program[] = R"(
import sys, time, torch
sys.path.insert(0, sys.argv[1])
import transformer_flow
torch.set_num_threads(int(sys.argv[2])); torch.manual_seed(0)
model = transformer_flow.Model(in_channels=1, img_size=28, patch_size=4, channels=128, num_blocks=4, layers_per_block=2, num_classes=10).eval()
z, y = torch.randn(256, 49, 16), torch.arange(256) % 10
with torch.no_grad():
    model.reverse(z.clone(), y)
    for line in sys.stdin:
        start = time.perf_counter(); model.reverse(z.clone(), y); print(time.perf_counter() - start, flush=True)
)";

/// One round of the peer, timed in its own process.
double peer_rate(const std::string& peer) {
  const char* python = std::getenv("COUPLET_PYTHON");
  const std::string command = fmt::format("printf 'go\\n' | {} -c '{}' '{}' {}", python != nullptr ? python : "python3",
                                          program, peer, torch::get_num_threads());
  std::FILE* pipe = ::popen(command.c_str(), "r");
  double seconds = 0;
  if (pipe == nullptr || std::fscanf(pipe, "%lf", &seconds) != 1)
    fail("the peer in {} did not run: set COUPLET_PYTHON to a python3 with torch", peer);
  ::pclose(pipe);
  return 256 / seconds;
}

void run() {
  const char* peers = std::getenv("COUPLET_PEERS");
  const std::string peer = peers == nullptr ? "" : std::string(peers) + "/ml-tarflow";
  const torch::NoGradGuard no_grad;
  TarFlow model = make_tarflow({.num_classes = 10}, 0);
  model->eval();
  const at::Tensor z = torch::randn({256, 49, 16}), y = torch::arange(256).remainder(10);
  model->reverse(z, y);
  std::vector<double> ours, theirs, ratios;
  for (int round = 0; round < 7; ++round) {
    ours.push_back(256 / seconds_of([&] { model->reverse(z, y); }));
    if (peer.empty()) continue;
    theirs.push_back(peer_rate(peer));
    ratios.push_back(ours.back() / theirs.back());
  }
  if (peer.empty()) {
    fmt::print("bench teacher_sample ours={:.4g} theirs=skipped ratio=skipped (images/s, higher is better)\n",
               median(ours));
  } else {
    fmt::print("bench teacher_sample ours={:.4g} theirs={:.4g} ratio={:.3f} (images/s, higher is better)\n",
               median(ours), median(theirs), median(ratios));
  }
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
