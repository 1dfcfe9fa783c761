// checkpoint_cost: what saving costs the teacher's training (configs/fashion.ini). Training with a checkpoint every few
// seconds against training without; the difference, divided by the saves, is what one costs: pauses, and what the
// writing takes from the training beside it. ours: images a second at one save a minute, from that cost.
#include "bench/training_round.h"

#include <cmath>
#include <fstream>

namespace couplet {
namespace {

const std::string stage = "teacher";
constexpr double seconds_between = 2;

/// Longest and mean pause of the steps that saved, in seconds; none is known to trainers that do not report it.
struct Pauses {
  double longest = 0, sum = 0;
  int count = 0;
};

Pauses pauses_of(const fs::path& directory) {
  Pauses pauses;
  std::ifstream lines(directory / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const double pause = nlohmann::json::parse(line).value("checkpoint_pause", 0.0);
    if (pause <= 0) continue;
    pauses.longest = std::max(pauses.longest, pause);
    pauses.sum += pause;
    ++pauses.count;
  }
  return pauses;
}

void run() {
  const BenchDirectory folder;
  const auto communicator = make_single_communicator();
  const SyntheticRows rows = synthetic_rows(bench_rows);
  const auto rate_of = [&](std::int64_t steps, std::int64_t every) {
    Config config = bench_config(stage, steps, {});
    config.pipeline.checkpoint_every = every;
    return training_rate(stage, config, rows, folder.path(), *communicator);
  };
  const auto batch = static_cast<double>(training_of(stage, bench_config(stage, 1, {})).batch);
  const double steps_a_second = rate_of(60, 1000000) / batch;
  const auto every = std::max<std::int64_t>(1, std::llround(seconds_between * steps_a_second));
  const std::int64_t saves = std::max<std::int64_t>(1, std::llround(1.1 * bench_seconds() / seconds_between));
  const std::int64_t steps = (saves + 1) * every;  // none at the end
  RatePairs rates;
  Pauses pauses;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double with = rate_of(steps, every);
    pauses = pauses_of(folder.path());
    const double without = rate_of(steps, steps);
    const double images = static_cast<double>(steps) * batch;
    const double cost = (images / with - images / without) / static_cast<double>(saves);
    rates.add(without * 60 / (60 + cost), without);
  }
  rates.print("checkpoint_cost", "images/s at one save a minute");
  if (pauses.count > 0)
    fmt::print("bench checkpoint_pause mean_ms={:.2f} longest_ms={:.2f} saves={}\n", 1e3 * pauses.sum / pauses.count,
               1e3 * pauses.longest, pauses.count);
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  couplet::run();
}
