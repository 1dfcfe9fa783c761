// What benchmarks share: both sides in turn in one run, medians, one line.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

inline double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A figure that a user may set for quick tries: COUPLET_BENCH_ROUNDS, COUPLET_BENCH_SECONDS.
inline int bench_setting(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::atoi(text) : otherwise;
}
/// Rounds of a benchmark of the training runtime, and the least seconds that a round of each side takes.
inline int bench_rounds() {
  return bench_setting("COUPLET_BENCH_ROUNDS", 7);
}
inline int bench_seconds() {
  return bench_setting("COUPLET_BENCH_SECONDS", 20);
}

/// Rates of both sides, round by round.
struct RatePairs {
  std::vector<double> ours, theirs;

  void add(double our_rate, double their_rate) {
    ours.push_back(our_rate);
    theirs.push_back(their_rate);
  }
  /// The medians of both and of the rounds' ratios.
  void print(const std::string& name, const std::string& unit) const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / theirs[i]);
    fmt::print("bench {} ours={:.4g} theirs={:.4g} ratio={:.3f} ({}, higher is better)\n", name, median(ours),
               median(theirs), median(ratios), unit);
    std::fflush(stdout);
  }
};

/// Times both sides in turn, `rounds` times after one round that is not counted, each doing `units` of work, and prints
/// the medians of their rates.
inline void compare_rates(const std::string& name, const std::string& unit, double units, int rounds,
                          const std::function<void()>& ours, const std::function<void()>& theirs) {
  RatePairs rates;
  for (int round = 0; round <= rounds; ++round) {
    const double our_rate = units / seconds_of(ours), their_rate = units / seconds_of(theirs);
    if (round > 0) rates.add(our_rate, their_rate);
  }
  rates.print(name, unit);
}

}  // namespace couplet
