#include "pipeline/liveness/heartbeat.h"

#include "storage/clock.h"
#include "storage/files/hash.h"
#include "storage/host_name.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

namespace couplet {
namespace {

constexpr std::size_t hash_digits = 16;
constexpr std::size_t text_bytes = 200;  // of each text at most

constexpr std::array state_names{"computing", "alone", "waiting", "ended"};

std::string hash_of(std::string_view text) {
  return fmt::format("{:016x}", hash64(std::as_bytes(std::span(text.data(), text.size()))));
}

}  // namespace

Heartbeat Heartbeat::own(int rank, std::int64_t number) {
  static const std::string host = host_name();
  return {rank, host, ::getpid(), number, unix_now(), current_activity()};
}

// "HASH {json}", filled up with spaces.
std::string heartbeat_text(const Heartbeat& heartbeat, const std::string& job) {
  const Activity& activity = heartbeat.activity;
  const nlohmann::json json = {{"job", job},
                               {"rank", heartbeat.rank},
                               {"host", heartbeat.host.substr(0, text_bytes)},
                               {"process", heartbeat.process},
                               {"number", heartbeat.number},
                               {"time", heartbeat.time},
                               {"state", state_names[static_cast<std::size_t>(activity.state)]},
                               {"seconds", activity.seconds},
                               {"collectives", activity.collectives},
                               {"waits_for", activity.waits_for},
                               {"what", activity.what.substr(0, text_bytes)},
                               {"step", activity.step.substr(0, text_bytes)},
                               {"rate", activity.rate}};
  // Texts may have been cut within a character.
  std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize(heartbeat_bytes - hash_digits - 2, ' ');
  return hash_of(text) + " " + text + "\n";
}

std::optional<std::pair<Heartbeat, std::string>> parse_heartbeat(const std::string& text) {
  if (text.size() != heartbeat_bytes) return std::nullopt;
  const std::string body = text.substr(hash_digits + 1, heartbeat_bytes - hash_digits - 2);
  if (!text.starts_with(hash_of(body) + " ")) return std::nullopt;
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  Heartbeat heartbeat;
  heartbeat.rank = json.value("rank", 0);
  heartbeat.host = json.value("host", "");
  heartbeat.process = json.value("process", std::int64_t{0});
  heartbeat.number = json.value("number", std::int64_t{0});
  heartbeat.time = json.value("time", 0.0);
  const std::string state = json.value("state", "");
  for (std::size_t i = 0; i < state_names.size(); ++i)
    if (state == state_names[i]) heartbeat.activity.state = static_cast<Activity::State>(i);
  heartbeat.activity.seconds = json.value("seconds", 0.0);
  heartbeat.activity.collectives = json.value("collectives", std::int64_t{0});
  heartbeat.activity.waits_for = json.value("waits_for", std::int64_t{0});
  heartbeat.activity.what = json.value("what", "");
  heartbeat.activity.step = json.value("step", "");
  heartbeat.activity.rate = json.value("rate", 0.0);
  return std::pair(heartbeat, json.value("job", ""));
}

}  // namespace couplet
