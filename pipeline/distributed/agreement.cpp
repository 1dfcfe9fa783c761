#include "pipeline/distributed/agreement.h"

#include "pipeline/process/interruption.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/json_difference.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <vector>

namespace couplet {
namespace {

namespace fs = std::filesystem;
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

RankBoard make_board(Communicator& communicator, const fs::path& directory, const std::string& name) {
  const RankBoard board(directory, name, communicator.broadcast_text(communicator.is_root() ? unique_job() : "", 0));
  std::string failure;
  if (communicator.is_root()) {
    try {
      board.clear();
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }
  failure = communicator.broadcast_text(failure, 0);
  if (failure.empty() && !board.write(RankRecord::own(communicator.rank(), 0)))
    failure =
        fmt::format("it cannot write to {} ({}), which all ranks must share", directory.string(), errno_text(errno));
  const std::vector<std::string> failures = communicator.gather_text(failure);
  const auto first = std::ranges::find_if(failures, [](const auto& text) { return !text.empty(); });
  if (first != failures.end()) fail("rank {} has no place to note what it does: {}", first - failures.begin(), *first);
  return board;
}

std::string reason_of_failure(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const std::exception& error) {
    return std::string(error.what()).empty() ? "unknown error" : error.what();
  }
}

}  // namespace couplet
