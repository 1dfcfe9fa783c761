#include "stages/results/comparison.h"

#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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

std::string nfe_list(const std::vector<std::int64_t>& counts) {
  std::string text = "NFE ";
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (i > 0) text += i + 1 == counts.size() ? " and " : ", ";
    text += std::to_string(counts[i]);
  }
  return text;
}

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

std::string Comparison::crossing_text() const {
  if (ratio.empty()) return "";
  const std::string both = fmt::format("The curves of {} and {}", curve->model(), baseline->model());
  if (crossings.empty())
    return fmt::format("{} do not cross between NFE {} and {}.", both, ratio.begin()->first, ratio.rbegin()->first);
  std::string text = both + " cross between ";
  for (std::size_t i = 0; i < crossings.size(); ++i) {
    text += fmt::format("{}NFE {} and {} (near {:.1f})", i > 0 ? ", and between " : "", crossings[i].before,
                        crossings[i].after, crossings[i].at);
  }
  return text + ".";
}

std::string Comparison::sentence() const {
  if (ratio.empty()) return "";
  const std::string ours = curve->model(), theirs = baseline->model();
  const auto both = [&](std::int64_t nfe) {
    return fmt::format("Fréchet distance {} against {} at NFE {}", number_text(curve->scores.at(nfe).mean),
                       number_text(baseline->scores.at(nfe).mean), nfe);
  };
  std::string text;
  if (won().empty() && lost().empty()) {
    text = fmt::format("{} and {} score the same at {}: {}.", ours, theirs,
                       ratio.size() == 1 ? "the NFE compared" : "every NFE compared", both(best()));
  } else if (won().empty()) {
    text =
        fmt::format("{} does not beat {} at any NFE compared; it comes nearest with {}.", ours, theirs, both(best()));
  } else {
    const std::string where = lost().empty() && won().size() == ratio.size() && ratio.size() > 1
                                  ? "every NFE compared (" + nfe_list(won()) + ")"
                                  : nfe_list(won());
    text = fmt::format("{} beats {} at {}, by most {} times: {}.", ours, theirs, where, number_text(ratio.at(best())),
                       both(best()));
    if (!lost().empty()) text += fmt::format(" At {} {} is better.", nfe_list(lost()), theirs);
  }
  return text + " " + confidence();
}

std::string Comparison::confidence() const {
  const bool trained = seeds > 1, sampled = sampling_seeds > 1;
  std::string text;
  if (!trained) text = "One training seed each: how far seeds scatter was not measured.";
  if (!trained && !sampled) return text;
  std::string over = trained ? fmt::format("{} training seeds", seeds) : "";
  if (sampled) over += fmt::format("{}{} sampling seeds", trained ? " and " : "", sampling_seeds);
  text += fmt::format("{}Means over {}", text.empty() ? "" : " ", over);
  if (unclear().empty()) return text + "; each difference exceeds their spread.";
  return text + fmt::format("; at {} the difference is within their spread.", nfe_list(unclear()));
}

std::vector<Comparison> compare(const Scores& scores) {
  std::vector<Comparison> comparisons;
  const auto add = [&](const ScoreCurve& curve, const ScoreCurve& baseline) {
    Comparison comparison = compare(curve, baseline);
    if (!comparison.ratio.empty()) comparisons.push_back(std::move(comparison));
  };
  const ScoreCurve* baseline = nullptr;
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    // "independent" comes first where there is one.
    if (!baseline || baseline->run != curve.run)
      baseline = &curve;
    else
      add(curve, *baseline);
  }
  for (const ScoreCurve& curve : scores.curves) {
    const std::string& first = scores.curves.front().run;
    if (curve.noise != "fresh" || curve.run == first) continue;
    if (const ScoreCurve* same = scores.curve(curve.coupling, "fresh", first)) add(curve, *same);
  }
  return comparisons;
}

}  // namespace couplet
