#include "stages/stage_traffic.h"

#include "pipeline/process/log.h"
#include "storage/files/atomic_file.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <sys/resource.h>
#include <nlohmann/json.hpp>

#include <array>
#include <utility>

namespace couplet {
namespace {

constexpr std::array counted_names{"opens", "looks", "renames", "syncs", "bytes_read", "bytes_written", "memory"};

/// The most memory that this process has taken, in bytes.
std::int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace

StageTraffic::StageTraffic() : files_(file_counts()), collectives_(collective_counts()) {}

void StageTraffic::publish(Communicator& communicator, const std::filesystem::path& path) const {
  const FileCounts now = file_counts();
  nlohmann::json entered = nlohmann::json::object();
  std::int64_t calls = 0, bytes = 0;
  for (const auto& [operation, total] : collective_counts()) {
    const auto before = collectives_.find(operation);
    const CollectiveCount from = before == collectives_.end() ? CollectiveCount{} : before->second;
    if (total.calls == from.calls) continue;
    entered[operation] = {{"calls", total.calls - from.calls}, {"bytes", total.bytes - from.bytes}};
    calls += total.calls - from.calls;
    bytes += total.bytes - from.bytes;
  }
  const std::array<std::int64_t, counted_names.size()> own{now.opens - files_.opens,
                                                           now.looks - files_.looks,
                                                           now.renames - files_.renames,
                                                           now.syncs - files_.syncs,
                                                           now.bytes_read - files_.bytes_read,
                                                           now.bytes_written - files_.bytes_written,
                                                           peak_memory()};
  const at::Tensor ranks = communicator.all_gather(at::tensor(at::ArrayRef<std::int64_t>(own), at::kLong));
  if (!communicator.is_root()) return;
  nlohmann::json counted{{"ranks", communicator.size()}, {"collectives", entered}};
  for (std::size_t i = 0; i < own.size(); ++i) {
    const at::Tensor values = ranks.select(1, static_cast<std::int64_t>(i));
    counted[counted_names[i]] = {{"all", values.sum().item<std::int64_t>()},
                                 {"most", values.max().item<std::int64_t>()}};
  }
  const auto all = [&](const char* name) { return counted[name]["all"].get<std::int64_t>(); };
  say("counted: {} read, {} written, {} opens of files by {}; {} collectives of {} on each rank",
      bytes_text(all("bytes_read")), bytes_text(all("bytes_written")), all("opens"),
      communicator.size() == 1 ? "one rank" : fmt::format("{} ranks together", communicator.size()), calls,
      bytes_text(bytes));
  publish_file(path, counted.dump(2) + "\n");
}

}  // namespace couplet
