#include "stages/results/comparison.h"

#include <algorithm>
#include <cmath>
#include <set>
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

/// Of a run, by NFE: the first student that was scored there from fresh noise.
using Baselines = std::map<std::int64_t, std::string>;

Baselines find_baselines(const Scores& scores, const std::string& run) {
  Baselines found;
  for (const ScoreCurve& curve : scores.curves)
    if (curve.noise == "fresh" && curve.run == run)
      for (const auto& [nfe, score] : curve.scores) found.emplace(nfe, curve.student);
  return found;
}

/// At the NFE that are `wanted`.
template <class Wanted>
Comparison compare_at(const ScoreCurve& curve, const ScoreCurve& baseline, Wanted wanted) {
  Comparison comparison;
  comparison.curve = &curve;
  comparison.baseline = &baseline;
  for (const auto& [nfe, ours] : curve.scores) {
    const auto found = baseline.scores.find(nfe);
    if (!wanted(nfe) || found == baseline.scores.end() || ours.mean <= 0 || found->second.mean <= 0) continue;
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

bool always(std::int64_t) {
  return true;
}

}  // namespace

Comparison compare(const ScoreCurve& curve, const ScoreCurve& baseline) {
  return compare_at(curve, baseline, always);
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
  const auto add = [&](const ScoreCurve& curve, const ScoreCurve* baseline, const auto& wanted) {
    if (!baseline) return;
    Comparison comparison = compare_at(curve, *baseline, wanted);
    if (!comparison.ratio.empty()) comparisons.push_back(std::move(comparison));
  };
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    const Baselines baselines = find_baselines(scores, curve.run);
    std::set<std::string> compared{curve.student};
    for (const auto& [first_nfe, student] : baselines)
      if (compared.insert(student).second)
        add(curve, scores.counterpart(student, curve.run, curve),
            [&, &student = student](std::int64_t nfe) { return baselines.at(nfe) == student; });
  }
  for (const ScoreCurve& curve : scores.curves) {
    const std::string& run = scores.curves.front().run;
    if (curve.noise == "fresh" && curve.run != run) add(curve, scores.counterpart(curve.student, run, curve), always);
  }
  return comparisons;
}

}  // namespace couplet
