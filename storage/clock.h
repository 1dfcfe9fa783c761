// What the clocks say, and how a time is written.
#pragma once

#include <chrono>
#include <string>

namespace couplet {

/// The Unix time in seconds, by this host's clock.
double unix_now();
/// The seconds that have passed since a moment. They do not jump when the host's clock is set.
double seconds_since(std::chrono::steady_clock::time_point start);

/// "2026-01-02 03:04:05" in this host's time zone.
std::string local_time_text(double unix_time);
/// "2026-01-02T03:04:05Z"
std::string utc_time_text(double unix_time);

}  // namespace couplet
