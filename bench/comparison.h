// What benchmarks share: both sides in turn in one run, medians, one line.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
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

/// Times both sides in turn, `rounds` times after one round that is not counted, each doing `units` of work, and prints
/// the medians of their rates.
inline void compare_rates(const std::string& name, const std::string& unit, double units, int rounds,
                          const std::function<void()>& ours, const std::function<void()>& theirs) {
  std::vector<double> our_rates, their_rates, ratios;
  for (int round = 0; round <= rounds; ++round) {
    const double our_rate = units / seconds_of(ours), their_rate = units / seconds_of(theirs);
    if (round == 0) continue;
    our_rates.push_back(our_rate);
    their_rates.push_back(their_rate);
    ratios.push_back(our_rate / their_rate);
  }
  fmt::print("bench {} ours={:.4g} theirs={:.4g} ratio={:.3f} ({}, higher is better)\n", name, median(our_rates),
             median(their_rates), median(ratios), unit);
  std::fflush(stdout);
}

}  // namespace couplet
