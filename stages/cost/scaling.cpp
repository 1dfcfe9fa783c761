#include "stages/cost/scaling.h"

#include "stages/cost/estimate_table.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace couplet {

namespace {

// Of a step's operations on a GPU, forward and backward, for each tensor of the model: a layer of a transformer has
// twelve tensors and about eighty operations.
constexpr double kernels_a_tensor = 7;
constexpr double backward_share = 2.0 / 3;  // of a step's products
constexpr double updated_copies = 7;        // AdamW reads and writes weights and two moments, and reads gradients
constexpr double averaged_copies = 3;

double tree_steps(std::int64_t ranks) {
  return std::ceil(std::log2(static_cast<double>(std::max<std::int64_t>(ranks, 1))));
}

/// At which rings carry a sum: within a node; over nodes each card has a ring of its own, and the node all of them.
double ring_bandwidth(std::int64_t ranks, const Machine& machine) {
  if (static_cast<double>(ranks) <= machine.gpus) return machine.node_bandwidth;
  return std::min(machine.node_bandwidth, machine.gpus * machine.network_bandwidth);
}

/// What all ranks read or write at once, as fast as files come.
double file_seconds(double bytes, std::int64_t ranks, const Machine& machine) {
  const double nodes = std::ceil(static_cast<double>(ranks) / machine.gpus);
  return bytes / std::min(machine.filesystem, nodes * machine.client);
}

double seconds_at_start(const StageLoad& load, const Machine& machine) {
  const double opens = load.opens_at_start / machine.opens;
  // Ranks get to know each other, and rank 0's weights reach them.
  return machine.start + opens + tree_steps(load.ranks) * load.layout.bytes / machine.network_bandwidth;
}

void add_training_time(StageTime& time, const StageLoad& load, const Machine& machine, bool overlap) {
  const double steps = load.rounds, step = time.computing / steps;
  const double shortest = kernels_a_tensor * static_cast<double>(load.layout.tensors) * machine.kernel;
  if (shortest > step) time.parts.push_back({"few images a GPU", steps * (shortest - step)});
  const double computed = std::max(step, shortest);

  const double updated = updated_copies / static_cast<double>(load.optimizer_parts) + averaged_copies * load.averages;
  time.parts.push_back(
      {"the optimizer's update", steps * load.layout.trained_bytes * updated / machine.memory_bandwidth});
  if (load.ranks > 1) {
    const double exposed =
        exposed_seconds(load.layout.bucket_bytes, backward_share * computed, load.ranks, machine, overlap);
    const double waits =
        static_cast<double>(load.layout.bucket_bytes.size()) * 2 * tree_steps(load.ranks) * machine.latency;
    const double gathered =
        load.optimizer_parts > 1 ? load.layout.reduced_bytes() / ring_bandwidth(load.ranks, machine) : 0;
    time.parts.push_back({"the network's bandwidth", steps * (exposed - std::min(exposed, waits) + gathered)});
    time.parts.push_back({"the network's latency",
                          steps * (std::min(exposed, waits) + 2 * tree_steps(load.ranks) * machine.host_latency)});
  }
  const double reading = file_seconds(load.bytes_read, load.ranks, machine) / steps;
  time.parts.push_back({"reading tables", steps * std::max(0.0, reading - computed)});
  const double written = load.checkpoint_bytes / machine.writer;
  const double between = load.checkpoints > 0 ? steps / load.checkpoints * computed : 0;
  time.parts.push_back({"checkpoints", load.checkpoints * (load.checkpoint_bytes / machine.host_copy +
                                                           std::max(0.0, written - between)) +
                                           load.layout.bytes / machine.writer});
}

void add_sharing_time(StageTime& time, const StageLoad& load, const Machine& machine) {
  const double ranks = static_cast<double>(load.ranks), units = static_cast<double>(load.units);
  // Whole units a rank: the last round has some ranks without one.
  const double turns = std::ceil(units / ranks) * ranks / units;
  time.parts.push_back({"too few " + load.unit, time.computing * (turns - 1)});
  const double files = file_seconds(load.bytes_read + load.bytes_written, std::min(load.ranks, load.units), machine);
  time.parts.push_back({"reading and writing files", std::max(0.0, files - time.computing * turns)});
  if (load.unit == "shards")  // one rank opens all of them at the end
    time.parts.push_back({"closing the table", 4 * units * machine.open_latency});
  double bytes = 0, calls = 0;
  for (const auto& [operation, of_one] : load.collectives) {
    bytes += (operation == "all_gather" ? ranks : 1) * of_one.bytes;
    calls += of_one.calls;
  }
  if (load.ranks > 1)
    time.parts.push_back({"exchanging results",
                          bytes / machine.network_bandwidth + calls * tree_steps(load.ranks) * machine.host_latency});
}

}  // namespace

double StageTime::all() const {
  return std::accumulate(parts.begin(), parts.end(), computing,
                         [](double sum, const TimePart& part) { return sum + part.seconds; });
}

TimePart StageTime::largest() const {
  const auto found = std::ranges::max_element(parts, {}, &TimePart::seconds);
  return found == parts.end() ? TimePart{} : *found;
}

double all_reduce_seconds(double bytes, std::int64_t ranks, const Machine& machine) {
  if (ranks < 2) return 0;
  const double count = static_cast<double>(ranks);
  return 2 * (count - 1) / count * bytes / ring_bandwidth(ranks, machine) + 2 * tree_steps(ranks) * machine.latency;
}

double exposed_seconds(const std::vector<double>& bucket_bytes, double backward, std::int64_t ranks,
                       const Machine& machine, bool overlap) {
  const double all = std::accumulate(bucket_bytes.begin(), bucket_bytes.end(), 0.0);
  double done = 0, free_at = 0;
  for (const double bytes : bucket_bytes) {
    done += bytes;
    const double ready = overlap && all > 0 ? backward * done / all : backward;
    free_at = std::max(free_at, ready) + all_reduce_seconds(bytes, ranks, machine);
  }
  return std::max(0.0, free_at - backward);
}

StageTime time_of(const StageLoad& load, const Machine& machine, bool overlap) {
  StageTime time;
  time.computing = device_seconds(load.flops, {machine.bfloat16, machine.float32, machine.utilisation}) /
                   static_cast<double>(load.ranks);
  time.parts.push_back({"starting", seconds_at_start(load, machine)});
  if (!load.layout.bucket_bytes.empty() && load.rounds > 0)
    add_training_time(time, load, machine, overlap);
  else if (!load.unit.empty())
    add_sharing_time(time, load, machine);
  return time;
}

}  // namespace couplet
