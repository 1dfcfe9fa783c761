#include "stages/results/comparison.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace couplet {

namespace {

std::vector<Crossing> find_crossings(const std::map<std::int64_t, double>& ratio) {
  std::vector<Crossing> crossings;
  std::int64_t last_nfe = 0;
  double last = 0;  // log ratio of the last NFE at which the curves differ
  for (const auto& [nfe, value] : ratio) {
    const double now = std::log(value);
    if (now == 0) continue;
    if (last * now < 0) {
      const double from = std::log(static_cast<double>(last_nfe)), to = std::log(static_cast<double>(nfe));
      crossings.push_back({last_nfe, nfe, std::exp(from + (to - from) * last / (last - now))});
    }
    last = now;
    last_nfe = nfe;
  }
  return crossings;
}

template <class Wanted>
std::vector<std::int64_t> counts_where(const std::map<std::int64_t, double>& ratio, Wanted wanted) {
  std::vector<std::int64_t> counts;
  for (const auto& [nfe, value] : ratio) {
    if (wanted(nfe, value)) counts.push_back(nfe);
  }
  return counts;
}

}  // namespace

Comparison compare(const ScoreCurve& curve, const ScoreCurve& baseline) {
  Comparison comparison;
  comparison.curve = &curve;
  comparison.baseline = &baseline;
  for (const auto& [nfe, ours] : curve.scores) {
    const auto found = baseline.scores.find(nfe);
    if (found == baseline.scores.end() || ours.mean <= 0 || found->second.mean <= 0) continue;
    const ScoreSummary& theirs = found->second;
    const auto fewest = [&](std::int64_t so_far, std::int64_t a, std::int64_t b) {
      const std::int64_t both = std::min(a, b);
      return comparison.ratio.empty() ? both : std::min(so_far, both);
    };
    comparison.seeds = fewest(comparison.seeds, ours.seeds, theirs.seeds);
    comparison.sampling_seeds = fewest(comparison.sampling_seeds, ours.sampling_seeds, theirs.sampling_seeds);
    comparison.ratio[nfe] = theirs.mean / ours.mean;
    const bool measured =
        std::max(std::min(ours.seeds, theirs.seeds), std::min(ours.sampling_seeds, theirs.sampling_seeds)) > 1;
    const double spread = std::hypot(ours.spread(), theirs.spread());
    comparison.clear[nfe] = measured && std::abs(theirs.mean - ours.mean) > spread;
  }
  comparison.crossings = find_crossings(comparison.ratio);
  return comparison;
}

std::vector<std::int64_t> Comparison::won() const {
  return counts_where(ratio, [](std::int64_t, double value) { return value > 1; });
}

std::vector<std::int64_t> Comparison::lost() const {
  return counts_where(ratio, [](std::int64_t, double value) { return value < 1; });
}

std::vector<std::int64_t> Comparison::unclear() const {
  return counts_where(ratio, [&](std::int64_t nfe, double) { return !clear.at(nfe); });
}

std::int64_t Comparison::best() const {
  std::int64_t best = 0;
  for (const auto& [nfe, value] : ratio) {
    if (best == 0 || value > ratio.at(best)) best = nfe;
  }
  return best;
}

std::vector<Comparison> compare(const Scores& scores) {
  std::vector<Comparison> comparisons;
  const auto add = [&](const ScoreCurve& curve, const ScoreCurve* baseline) {
    if (!baseline) return;
    Comparison comparison = compare(curve, *baseline);
    if (!comparison.ratio.empty()) comparisons.push_back(std::move(comparison));
  };
  const ScoreCurve* first = nullptr;
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    if (!first || first->run != curve.run)
      first = &curve;
    else if (curve.student != first->student)
      add(curve, scores.counterpart(first->student, curve.run, curve));
  }
  for (const ScoreCurve& curve : scores.curves) {
    const std::string& run = scores.curves.front().run;
    if (curve.noise == "fresh" && curve.run != run) add(curve, scores.counterpart(curve.student, run, curve));
  }
  return comparisons;
}

}  // namespace couplet
