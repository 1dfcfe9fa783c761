#include "method/data/files/divided_pass.h"

#include "pipeline/liveness/activity.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"

#include <nlohmann/json.hpp>

#include <map>
#include <mutex>
#include <numeric>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

/// One line that tells the stamp and the lengths of the parts; then the parts.
std::string kept_text(const std::string& stamp, const std::vector<std::string>& parts) {
  nlohmann::json head{{"stamp", stamp}, {"parts", nlohmann::json::array()}};
  for (const std::string& part : parts) head["parts"].push_back(part.size());
  std::string text = head.dump() + "\n";
  for (const std::string& part : parts) text += part;
  return text;
}

/// The parts of a text that was kept under this stamp; none if there is none, or it is damaged.
std::vector<std::string> kept_parts(const std::string& stamp, std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return {};
  try {
    const nlohmann::json head = parse_json(text.substr(0, end), "kept results");
    const auto sizes = head.at("parts").get<std::vector<std::size_t>>();
    std::string_view rest = text.substr(end + 1);
    if (head.at("stamp") != stamp || std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}) != rest.size())
      return {};
    std::vector<std::string> parts;
    for (const std::size_t size : sizes) {
      parts.emplace_back(rest.substr(0, size));
      rest.remove_prefix(parts.back().size());
    }
    return parts;
  } catch (const std::exception&) {
    return {};  // then the pass is made again
  }
}

std::string read_kept(const std::filesystem::path& file) {
  std::error_code error;
  if (file.empty() || !std::filesystem::exists(file, error)) return "";
  try {
    return read_file(file);
  } catch (const Error&) {
    return "";
  }
}

void keep(const std::filesystem::path& file, const std::string& stamp, const std::vector<std::string>& parts) {
  if (file.empty()) return;
  try {
    publish_file(file, kept_text(stamp, parts));
  } catch (const Error&) {
    return;  // it only saves time
  }
}

}  // namespace

DividedPass undivided_pass() {
  return [](const PassStamp&, std::int64_t count, const PassPart& part) { return std::vector{part(0, count)}; };
}

DividedPass remembered_pass() {
  return [](const PassStamp& stamp, std::int64_t count, const PassPart& part) {
    static std::mutex mutex;
    static std::map<std::string, std::vector<std::string>> found;
    const std::string now = stamp();
    const std::lock_guard lock(mutex);
    const auto known = found.find(now);
    return known != found.end() ? known->second : found[now] = {part(0, count)};
  };
}

DividedPass kept_pass(std::filesystem::path file, DividedPass otherwise) {
  return [file = std::move(file), otherwise = std::move(otherwise)](const PassStamp& stamp, std::int64_t count,
                                                                    const PassPart& part) {
    const std::string now = stamp();
    std::vector<std::string> parts = kept_parts(now, read_kept(file));
    if (!parts.empty()) return parts;
    parts = otherwise([&] { return now; }, count, part);
    keep(file, now, parts);
    return parts;
  };
}

DividedPass pass_of_ranks(Communicator& communicator, std::filesystem::path file) {
  return [&communicator, file = std::move(file)](const PassStamp& stamp, std::int64_t count, const PassPart& part) {
    const std::string kept = communicator.broadcast_text(communicator.is_root() ? read_kept(file) : "", 0);
    // One rank asks the file system, which may tell others other times.
    const std::string agreed = communicator.broadcast_text(communicator.is_root() ? stamp() : "", 0);
    std::vector<std::string> parts = kept_parts(agreed, kept);
    if (!parts.empty()) return parts;
    const std::int64_t ranks = communicator.size(), first = count * communicator.rank() / ranks,
                       end = count * (communicator.rank() + 1) / ranks;
    std::string mine;
    {
      const WorkingAlone alone("looking at the data set's files");
      mine = part(first, end - first);
    }
    parts = communicator.gather_text(mine);
    if (communicator.is_root()) keep(file, agreed, parts);
    return parts;
  };
}

}  // namespace couplet
