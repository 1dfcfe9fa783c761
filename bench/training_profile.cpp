// training_profile [teacher|student|unet]: where a training step's time goes, by LibTorch operator: the time in which each
// ran itself, without those that it called; main thread (the CPU's backward pass runs on it too).
#include "bench/training_round.h"

#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <thread>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

struct OperatorTime {
  double seconds = 0;
  std::int64_t calls = 0;
};
struct Frame {
  std::string name;
  Clock::time_point start;
  double in_callees = 0;
};

std::thread::id profiled;
std::map<std::string, OperatorTime> times;
std::vector<Frame> frames;

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& function) {
  if (std::this_thread::get_id() == profiled) frames.push_back({function.name(), Clock::now(), 0});
  return nullptr;
}

void leave(const at::RecordFunction&, at::ObserverContext*) {
  if (std::this_thread::get_id() != profiled || frames.empty()) return;
  const Frame frame = frames.back();
  frames.pop_back();
  const std::chrono::duration<double> whole = Clock::now() - frame.start;
  OperatorTime& time = times[frame.name];
  time.seconds += whole.count() - frame.in_callees;
  time.calls += 1;
  if (!frames.empty()) frames.back().in_callees += whole.count();
}

void profile(const TrainingBench& bench) {
  constexpr double least_share = 0.01;
  const std::string& stage = bench.stage;
  const BenchDirectory folder;
  const auto communicator = make_single_communicator();
  const SyntheticRows rows = synthetic_rows(bench_rows);
  const auto batch = static_cast<double>(training_of(stage, bench_config(stage, 1, bench.settings)).batch);
  const double rate = training_rate(stage, bench_config(stage, 20, bench.settings), rows, folder.path(), *communicator);
  const auto steps = static_cast<std::int64_t>(bench_seconds() * rate / batch) + 1;
  times.clear();
  profiled = std::this_thread::get_id();
  const auto handle =
      at::addGlobalCallback(at::RecordFunctionCallback(enter, leave).scopes({at::RecordScope::FUNCTION}));
  const double seconds = static_cast<double>(steps) * batch /
                         training_rate(stage, bench_config(stage, steps, bench.settings), rows, folder.path(), *communicator);
  at::removeCallback(handle);
  std::vector<std::pair<std::string, OperatorTime>> sorted(times.begin(), times.end());
  std::ranges::sort(sorted, std::greater(), [](const auto& each) { return each.second.seconds; });
  fmt::print("{}: {} steps of {} images, {:.1f} ms a step, {} threads\n", bench.name, steps, batch,
             1e3 * seconds / static_cast<double>(steps), at::get_num_threads());
  double rest = seconds;
  for (const auto& [name, time] : sorted) {
    if (time.seconds < least_share * seconds) break;
    rest -= time.seconds;
    fmt::print("  {:5.1f} %  {:<44} {:6.1f} calls a step\n", 100 * time.seconds / seconds, name,
               static_cast<double>(time.calls) / static_cast<double>(steps));
  }
  fmt::print("  {:5.1f} %  operators of less than {:.0f} % each, and what is no operator\n", 100 * rest / seconds,
             100 * least_share);
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  for (const couplet::TrainingBench& bench : couplet::training_benches())
    if (count == 1 || bench.name == words[1]) couplet::profile(bench);
}
