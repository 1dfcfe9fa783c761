// What a check of `couplet selftest` has found.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace couplet {

struct Outcome {
  enum class State { ok, failed, skipped };
  State state = State::ok;
  std::string text;  ///< ok: what was tried, with figures; failed: who, what, which file; skipped: why
};

template <class... Args>
Outcome passed(fmt::format_string<Args...> format, Args&&... args) {
  return {Outcome::State::ok, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Outcome failed(fmt::format_string<Args...> format, Args&&... args) {
  return {Outcome::State::failed, fmt::format(format, std::forward<Args>(args)...)};
}
template <class... Args>
Outcome skipped(fmt::format_string<Args...> format, Args&&... args) {
  return {Outcome::State::skipped, fmt::format(format, std::forward<Args>(args)...)};
}

}  // namespace couplet
