#include "storage/clock.h"

#include <ctime>

namespace couplet {
namespace {

std::string time_text(const std::tm& time, const char* format) {
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &time)};
}

}  // namespace

double unix_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string local_time_text(double unix_time) {
  const auto seconds = static_cast<std::time_t>(unix_time);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return time_text(local, "%Y-%m-%d %H:%M:%S");
}

std::string utc_time_text(double unix_time) {
  const auto seconds = static_cast<std::time_t>(unix_time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return time_text(utc, "%Y-%m-%dT%H:%M:%SZ");
}

}  // namespace couplet
