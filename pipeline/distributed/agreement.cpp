#include "pipeline/distributed/agreement.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/json_difference.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <vector>

namespace couplet {
namespace {

using Json = nlohmann::json;

/// "teacher.channels is "64" on rank 1, "128" on ranks 0, 2"
std::string difference_text(const KeyDifference& difference) {
  std::map<std::string, std::vector<std::size_t>> holders;  // of each value
  for (std::size_t rank = 0; rank < difference.values.size(); ++rank) holders[difference.values[rank]].push_back(rank);
  // The odd ones first.
  std::vector<std::pair<std::string, std::vector<std::size_t>>> values(holders.begin(), holders.end());
  std::ranges::stable_sort(values, {}, [](const auto& value) { return value.second.size(); });
  std::vector<std::string> texts;
  for (const auto& [value, on] : values)
    texts.push_back(fmt::format("{} on {} {}", value, on.size() == 1 ? "rank" : "ranks", fmt::join(on, ", ")));
  return fmt::format("{} is {}", difference.key, fmt::join(texts, ", "));
}

std::string unique_job() {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return fmt::format("{:x}-{:x}", now, ::getpid());
}

}  // namespace

void require_agreement(Communicator& communicator, const std::string& what, const Json& facts) {
  const std::string text = facts.dump();
  const std::vector<std::string> hashes = communicator.gather_text(hash_text(text));
  if (std::ranges::all_of(hashes, [&](const auto& hash) { return hash == hashes[0]; })) return;
  std::vector<Json> ranks;
  for (const std::string& theirs : communicator.gather_text(text)) ranks.push_back(Json::parse(theirs));
  std::vector<std::string> differences;
  for (const KeyDifference& difference : json_differences(ranks)) differences.push_back(difference_text(difference));
  refuse("the ranks disagree about {}: {}. Start all of them with the same program, configuration and files", what,
         fmt::join(differences, "; "));
}

bool agree_to_stop(Communicator& communicator) {
  return communicator.maximum(stop_requested() ? 1 : 0) != 0;
}

JobHeartbeats make_job_heartbeats(Communicator& communicator, const fs::path& directory, const std::string& name) {
  const HeartbeatFiles files(directory, name,
                             communicator.broadcast_text(communicator.is_root() ? unique_job() : "", 0));
  const int rank = communicator.rank();
  const auto require = [&](const std::function<void()>& work) {
    if (const auto failed = try_on_all(communicator, work))
      fail("rank {} has no place to note what it does: {}", failed->rank, failed->reason);
  };
  std::shared_ptr<NodeMemory> memory;
  require([&] {
    if (communicator.is_root()) files.clear();
    memory = std::make_shared<NodeMemory>("couplet-" + files.job(), communicator.size(), heartbeat_bytes);
    memory->put(rank, heartbeat_text(Heartbeat::own(rank, 0), files.job()));
  });
  JobHeartbeats heartbeats(files, memory, communicator.gather_text(memory->identity()), rank);
  memory->remove_name();
  require([&] {
    if (heartbeats.nodes()[heartbeats.node()].front() == rank && !heartbeats.write())
      fail("it cannot write to {} ({}), which all ranks must share", directory.string(), errno_text(errno));
  });
  return heartbeats;
}

std::optional<FailedRank> try_on_all(Communicator& communicator, const std::function<void()>& work) {
  std::string failure;
  const auto note = [&](ExitStatus status, const std::string& reason) {
    failure = static_cast<char>(status) + (reason.empty() ? "unknown error" : reason);
  };
  try {
    work();
  } catch (const Error& error) {
    note(error.status(), error.what());
  } catch (const std::exception& error) {
    note(exit_failed, error.what());
  }
  const std::vector<std::string> failures = communicator.gather_text(failure);
  for (int rank = 0; rank < communicator.size(); ++rank)
    if (const std::string& theirs = failures[static_cast<std::size_t>(rank)]; !theirs.empty())
      return FailedRank{rank, static_cast<ExitStatus>(theirs[0]), theirs.substr(1)};
  return std::nullopt;
}

void run_on_all(Communicator& communicator, const std::function<void()>& work) {
  if (const auto failed = try_on_all(communicator, work)) throw Error(failed->reason, failed->status);
}

std::string hash_for_all(Communicator& communicator, const fs::path& path) {
  std::string hash;
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    const WorkingAlone alone("hashing " + path.string());
    hash = hash_file(path);
  });
  return communicator.broadcast_text(hash, 0);
}

}  // namespace couplet
