// two_ranks: images a second of the teacher's training (configs/fashion.ini) by 2 ranks of 1 thread that train one
// model, against 2 independent processes of 1 thread, side by side, of half the batch each: equal work, no
// communication. overlap: 2 ranks with pipeline.overlap (gradients summed while the backward pass runs) against
// without. The share of the waiting for communication that overlap hides is printed, too.
#include "bench/memory.h"
#include "bench/training_round.h"
#include "pipeline/distributed/make_communicator.h"

#include <cmath>
#include <fstream>
#include <future>

namespace couplet {
namespace {

const std::string stage = "teacher";
constexpr std::int64_t ranks = 2;

/// What one measured process group trains.
struct Work {
  std::int64_t batch = 0, steps = 0;
  std::vector<std::string> settings;  ///< KEY=VALUE

  std::string words(const fs::path& directory) const {
    std::string text = fmt::format("worker '{}' {} {}", directory.string(), batch, steps);
    for (const auto& setting : settings) text += " " + setting;
    return text;
  }
};

std::string this_program() {
  return fs::read_symlink("/proc/self/exe").string();
}

/// Images a second of the ranks of one mpirun; binding as `couplet run` has it.
double rate_of_ranks(const Work& work, const fs::path& directory) {
  return number_from(
      fmt::format("OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe "
                  "--bind-to none "
                  "-n {} '{}' {}",
                  ranks, this_program(), work.words(directory)));
}

/// Images a second of as many processes that know nothing of each other, together.
double rate_of_processes(const Work& work, const fs::path& directory) {
  std::vector<std::future<double>> rates;
  for (std::int64_t i = 0; i < ranks; ++i)
    rates.push_back(std::async(std::launch::async, [&, i] {
      return number_from(fmt::format("OMP_NUM_THREADS=1 '{}' {}", this_program(),
                                     work.words(directory / fmt::format("process-{}", i))));
    }));
  double sum = 0;
  for (auto& rate : rates) sum += rate.get();
  return sum;
}

/// Mean of a figure over the steps of a training.
double mean_of_steps(const fs::path& directory, const std::string& name) {
  std::ifstream lines(directory / "metrics.jsonl");
  double sum = 0;
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) sum += nlohmann::json::parse(line).value(name, 0.0);
  return sum / std::max(count, 1);
}

std::int64_t steps_of_round(std::int64_t batch, const BenchDirectory& folder) {
  const double rate = rate_of_ranks({batch, 40, {}}, folder / "trial");
  return static_cast<std::int64_t>(std::ceil(1.1 * bench_seconds() * rate / static_cast<double>(batch)));
}

void compare_with_processes(std::int64_t batch, std::int64_t steps, const BenchDirectory& folder) {
  RatePairs rates;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double ours = rate_of_ranks({batch, steps, {}}, folder / "ranks");
    rates.add(ours, rate_of_processes({batch / ranks, steps, {}}, folder / "processes"));
  }
  rates.print("two_ranks", "images/s");
}

void compare_overlap(std::int64_t batch, std::int64_t steps, const BenchDirectory& folder) {
  RatePairs rates;
  std::vector<double> hidden;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double with = rate_of_ranks({batch, steps, {"pipeline.overlap=true"}}, folder / "with");
    rates.add(with, rate_of_ranks({batch, steps, {"pipeline.overlap=false"}}, folder / "without"));
    hidden.push_back(1 - mean_of_steps(folder / "with", "communication_stall") /
                             mean_of_steps(folder / "with", "communication"));
  }
  rates.print("overlap", "images/s");
  fmt::print("bench overlap_hidden share={:.2f} (of the time that reductions are under way, median)\n", median(hidden));
}

void run() {
  const BenchDirectory folder;
  const std::int64_t batch = training_of(stage, bench_config(stage, 1, {})).batch;
  const std::int64_t steps = steps_of_round(batch, folder);
  compare_with_processes(batch, steps, folder);
  compare_overlap(batch, steps, folder);
}

/// worker DIRECTORY BATCH STEPS [KEY=VALUE ...]
void work(const std::vector<std::string>& words) {
  std::vector<Setting> settings{{stage + ".batch", words[1], "bench"}};
  for (std::size_t i = 3; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    settings.push_back({words[i].substr(0, equals), words[i].substr(equals + 1), "bench"});
  }
  const auto communicator = make_communicator("cpu");
  const double rate = training_rate(stage, bench_config(stage, std::stoll(words[2]), settings),
                                    synthetic_rows(bench_rows), words[0], *communicator);
  if (communicator->is_root()) fmt::print("{}\n", rate);
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  if (count >= 5)
    couplet::work({words + 2, words + count});
  else
    couplet::run();
}
