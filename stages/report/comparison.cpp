#include "stages/report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace couplet {

namespace {

/// "NFE 1, 2 and 4"
std::string nfe_list(const std::vector<std::int64_t>& counts) {
  std::string text = "NFE ";
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (i > 0) text += i + 1 == counts.size() ? " and " : ", ";
    text += std::to_string(counts[i]);
  }
  return text;
}

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

Comparison compare_curves(const ScoreCurve& curve, const ScoreCurve& baseline) {
  Comparison comparison;
  comparison.coupling = curve.coupling;
  comparison.baseline = baseline.coupling;
  for (const auto& [nfe, ours] : curve.scores) {
    const auto theirs = baseline.scores.find(nfe);
    if (theirs == baseline.scores.end() || ours.mean <= 0 || theirs->second.mean <= 0) continue;
    comparison.ratio[nfe] = theirs->second.mean / ours.mean;
    const std::int64_t seeds = std::min(ours.seeds, theirs->second.seeds);
    const double spread = std::hypot(ours.sd, theirs->second.sd);
    comparison.clear[nfe] = seeds > 1 && std::abs(theirs->second.mean - ours.mean) > spread;
    comparison.seeds = comparison.seeds == 0 ? seeds : std::min(comparison.seeds, seeds);
  }
  comparison.crossings = find_crossings(comparison.ratio);
  return comparison;
}

}  // namespace

std::string Comparison::crossing_text() const {
  if (ratio.empty()) return "";
  if (crossings.empty()) {
    return fmt::format("The curves of {} and {} do not cross between NFE {} and {}.", coupling, baseline,
                       ratio.begin()->first, ratio.rbegin()->first);
  }
  std::string text = fmt::format("The curves of {} and {} cross between ", coupling, baseline);
  for (std::size_t i = 0; i < crossings.size(); ++i) {
    text += fmt::format("{}NFE {} and {} (near {:.1f})", i > 0 ? ", and between " : "", crossings[i].before,
                        crossings[i].after, crossings[i].at);
  }
  return text + ".";
}

std::string Comparison::sentence(const Scores& scores) const {
  std::vector<std::int64_t> won, lost, unclear;
  std::int64_t best = 0;
  for (const auto& [nfe, value] : ratio) {
    if (value > 1) won.push_back(nfe);
    if (value < 1) lost.push_back(nfe);
    if (!clear.at(nfe)) unclear.push_back(nfe);
    if (best == 0 || value > ratio.at(best)) best = nfe;
  }
  if (ratio.empty()) return "";
  const auto both = [&](std::int64_t nfe) {
    return fmt::format("Fréchet distance {} against {} at NFE {}",
                       number_text(scores.curve(coupling, "fresh")->scores.at(nfe).mean),
                       number_text(scores.curve(baseline, "fresh")->scores.at(nfe).mean), nfe);
  };
  std::string text;
  if (won.empty() && lost.empty()) {
    text = fmt::format("{} and {} score the same at {}: {}.", coupling, baseline,
                       ratio.size() == 1 ? "the NFE compared" : "every NFE compared", both(best));
  } else if (won.empty()) {
    text = fmt::format("{} does not beat {} at any NFE compared; it comes nearest with {}.", coupling, baseline,
                       both(best));
  } else {
    const std::string where = lost.empty() && won.size() == ratio.size() && won.size() > 1
                                  ? "every NFE compared (" + nfe_list(won) + ")"
                                  : nfe_list(won);
    text = fmt::format("{} beats {} at {}, by most {} times: {}.", coupling, baseline, where,
                       number_text(ratio.at(best)), both(best));
    if (!lost.empty()) text += fmt::format(" At {} {} is better.", nfe_list(lost), baseline);
  }
  if (seeds < 2) return text + " One training seed each: how far seeds scatter was not measured.";
  text += fmt::format(" Means over {} training seeds", seeds);
  if (unclear.empty()) return text + "; each difference exceeds their spread.";
  return text + fmt::format("; at {} the difference is within their spread.", nfe_list(unclear));
}

std::vector<Comparison> compare(const Scores& scores) {
  std::vector<Comparison> comparisons;
  const ScoreCurve* baseline = nullptr;
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    if (!baseline) {
      baseline = &curve;  // "independent" comes first where there is one
      continue;
    }
    Comparison comparison = compare_curves(curve, *baseline);
    if (!comparison.ratio.empty()) comparisons.push_back(std::move(comparison));
  }
  return comparisons;
}

}  // namespace couplet
