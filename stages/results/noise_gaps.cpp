#include "stages/results/noise_gaps.h"

#include "method/statistics/prior_gap.h"

#include <algorithm>

namespace couplet {

const ScoreRecord* NoiseGap::find(const std::string& metric) const {
  const auto found = figures.find(metric);
  return found == figures.end() ? nullptr : &found->second;
}

const ScoreRecord* NoiseGap::overfitting() const {
  const ScoreRecord* own = find("nll_difference");
  const ScoreRecord* difference = own ? own : find("normal_nats_difference");
  return difference && Overfitting::is_clear({difference->value, difference->uncertainty}) ? difference : nullptr;
}

std::vector<NoiseGap> noise_gaps(const Scores& scores) {
  std::vector<NoiseGap> gaps;
  for (const ScoreRecord& record : scores.records) {
    if (record.model != "table") continue;
    auto found = std::ranges::find_if(gaps, [&](const NoiseGap& gap) {
      return gap.run == record.run && gap.table == record.table && gap.split == record.split;
    });
    if (found == gaps.end()) {
      const bool is_first = std::ranges::none_of(
          gaps, [&](const NoiseGap& gap) { return gap.run == record.run && gap.table == record.table; });
      found = gaps.insert(gaps.end(), {record.run, record.table, record.split, is_first});
    }
    found->figures[record.metric] = record;
  }
  return gaps;
}

}  // namespace couplet
