// What a rank tells of itself, and the text in which it does.
#pragma once

#include "pipeline/liveness/activity.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace couplet {

/// What a rank tells about once a second.
struct Heartbeat {
  int rank = 0;
  std::string host;
  std::int64_t process = 0;
  std::int64_t number = 0;  ///< counts the rank's heartbeats; while it does not grow, the rank gives no sign of life
  double time = 0;          ///< Unix time of telling, by the host's own clock
  Activity activity;

  /// The heartbeat of this process now.
  static Heartbeat own(int rank, std::int64_t number);
};

/// Length of each heartbeat's text, so that one is written over the one before.
inline constexpr std::size_t heartbeat_bytes = 2048;

/// A line of JSON, with a hash that shows whether it was read while it was being written.
std::string heartbeat_text(const Heartbeat& heartbeat, const std::string& job);
/// The heartbeat, and the job that it belongs to; nothing if `text` is no such line.
std::optional<std::pair<Heartbeat, std::string>> parse_heartbeat(const std::string& text);

}  // namespace couplet
