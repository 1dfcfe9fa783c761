// overlap_model: what pipeline.overlap hides of a network that is put between two ranks (DelayedCommunicator), against
// what the model of docs/scaling.md says. Reductions of a step take half, then as long, then twice as long as its
// backward pass. A line each, with and without overlap: the seconds of a step beyond one without delays, measured, by
// the model, and their ratio.
#include "bench/delayed_communicator.h"
#include "bench/memory.h"
#include "bench/training_round.h"
#include "pipeline/distributed/make_communicator.h"
#include "stages/cost/scaling.h"
#include "stages/graph.h"
#include "stages/kinds.h"

#include <fstream>

namespace couplet {
namespace {

const std::string trained = "teacher";
constexpr double latency = 1e-3, backward_share = 2.0 / 3;
constexpr std::int64_t first_step = 3;  // those before it warm up

std::vector<Setting> settings_of(bool overlap) {
  return {{"pipeline.bucket-size", "0.25", "bench"}, {"pipeline.overlap", overlap ? "true" : "false", "bench"}};
}

/// Median of the seconds of a step on two ranks with this network between them; 0: none.
double step_seconds(const BenchDirectory& folder, bool overlap, double bandwidth, std::int64_t steps) {
  const fs::path directory = folder / "run";
  number_from(
      fmt::format("OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe "
                  "--bind-to none "
                  "-n 2 '{}' worker '{}' {} {} {}",
                  fs::read_symlink("/proc/self/exe").string(), directory.string(), overlap, bandwidth, steps));
  std::vector<double> seconds;
  std::ifstream lines(directory / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto said = nlohmann::json::parse(line);
    if (said.at("step") >= first_step) seconds.push_back(said.at("seconds"));
  }
  return median(seconds);
}

void work(const std::vector<std::string>& words) {
  const auto ranks = make_communicator("cpu");
  const double bandwidth = std::stod(words[2]);
  DelayedCommunicator delayed(*ranks, {latency, bandwidth});
  Communicator& between = bandwidth > 0 ? delayed : *ranks;
  const Config config = bench_config(trained, std::stoll(words[3]), settings_of(words[1] == "true"));
  const double rate = training_rate(trained, config, synthetic_rows(bench_rows), words[0], between);
  if (ranks->is_root()) fmt::print("{}\n", rate);
}

void run() {
  offer_members();
  const BenchDirectory folder;
  const Config config = bench_config(trained, 1, settings_of(true));
  const DatasetSize dataset{60000, 10000, {1, 28, 10, {}}, 60000};
  const StageGraph graph = stage_graph(config, {.has_classes = true});
  const auto buckets = layout_of(find_node(graph, trained), {config, graph, dataset}, false, 2).bucket_bytes;
  double bytes = 0;
  for (const double bucket : buckets) bytes += bucket;
  const double plain = step_seconds(folder, true, 0, 20);
  const auto steps = first_step + static_cast<std::int64_t>(bench_seconds() / plain) + 1;
  for (const double share : {0.5, 1.0, 2.0}) {
    const double backward = backward_share * plain;
    const double bandwidth = bytes / (share * backward - latency * static_cast<double>(buckets.size()));
    Machine machine;
    machine.node_bandwidth = bandwidth;
    machine.latency = latency / 2;
    for (const bool overlap : {false, true}) {
      std::vector<double> beyond;
      for (int round = 0; round < bench_rounds(); ++round)
        beyond.push_back(step_seconds(folder, overlap, bandwidth, steps) - step_seconds(folder, overlap, 0, steps));
      const double said = exposed_seconds(buckets, backward, 2, machine, overlap);
      fmt::print("bench overlap_model network={:.1f} overlap={} step={:.4f} beyond={:.4f} model={:.4f} ratio={:.2f}\n",
                 share, overlap, plain, median(beyond), said, median(beyond) / said);
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  if (count >= 6)
    couplet::work({words + 2, words + count});
  else
    couplet::run();
}
