#include "stages/results/verdict.h"

#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

namespace couplet {

namespace {

/// The curves from fresh noise that were scored at an NFE, the best first.
std::vector<const ScoreCurve*> ranking(const Scores& scores, std::int64_t nfe) {
  std::vector<const ScoreCurve*> ranked;
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise == "fresh" && curve.scores.contains(nfe)) ranked.push_back(&curve);
  }
  std::ranges::stable_sort(ranked, {}, [&](const ScoreCurve* curve) { return curve->scores.at(nfe).mean; });
  return ranked;
}

/// The same scores at every NFE that both have.
bool level(const ScoreCurve& curve, const ScoreCurve& other) {
  const Comparison comparison = compare(curve, other);
  return !comparison.ratio.empty() && comparison.won().empty() && comparison.lost().empty();
}

/// What the winner is set against.
const ScoreCurve* opponent(const Scores& scores, const ScoreCurve& winner, const std::vector<std::int64_t>& won) {
  const auto baseline = std::ranges::find_if(
      scores.curves, [&](const ScoreCurve& curve) { return curve.noise == "fresh" && curve.run == winner.run; });
  const auto beaten = [](const Comparison& comparison) { return !comparison.won().empty(); };
  if (&*baseline != &winner && beaten(compare(winner, *baseline))) return &*baseline;
  std::vector<const ScoreCurve*> ranked = ranking(scores, won.front());
  std::erase(ranked, &winner);
  const auto worse = std::ranges::find_if(ranked, [&](const ScoreCurve* curve) { return !level(winner, *curve); });
  return worse != ranked.end() ? *worse : ranked.front();
}

/// "independent is best at NFE 8 and 31"; "soft: nf scores the same"
std::string others_text(const Scores& scores, const std::map<const ScoreCurve*, std::vector<std::int64_t>>& best,
                        const ScoreCurve* winner) {
  std::string text;
  for (const ScoreCurve& curve : scores.curves) {
    const auto found = best.find(&curve);
    const bool same = curve.noise == "fresh" && level(*winner, curve);
    if (&curve == winner || (found == best.end() && !same)) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : "; ", curve.model(),
                        same ? "scores the same" : "is best at " + nfe_list(found->second));
  }
  return text;
}

}  // namespace

Verdict find_verdict(const Scores& scores) {
  std::map<const ScoreCurve*, std::vector<std::int64_t>> best;
  std::size_t compared = 0;
  Verdict verdict;
  for (const std::int64_t nfe : scores.columns) {
    const auto ranked = ranking(scores, nfe);
    if (ranked.size() < 2) continue;
    ++compared;
    best[ranked.front()].push_back(nfe);
  }
  for (const ScoreCurve& curve : scores.curves) {
    const auto found = best.find(&curve);
    if (found == best.end()) continue;
    const auto& most = verdict.winner ? best.at(verdict.winner) : std::vector<std::int64_t>{};
    const bool more =
        found->second.size() != most.size() ? found->second.size() > most.size() : found->second.front() < most.front();
    if (more) verdict.winner = &curve;
  }
  if (!verdict.winner) return verdict;
  const std::vector<std::int64_t>& won = best.at(verdict.winner);
  verdict.where = won.size() == compared ? fmt::format("best at every NFE compared: {}", nfe_list(won).substr(4))
                                         : fmt::format("best at {}", nfe_list(won));
  verdict.others = others_text(scores, best, verdict.winner);
  const ScoreCurve& other = *opponent(scores, *verdict.winner, won);
  const Comparison comparison = compare(*verdict.winner, other);
  if (comparison.ratio.empty()) return verdict;
  const std::int64_t at = comparison.best();
  verdict.other = &other;
  verdict.confidence = comparison.confidence();
  if (level(*verdict.winner, other)) {
    verdict.margin = "level";
    verdict.margin_text = fmt::format("{} scores the same", other.model());
    return verdict;
  }
  verdict.margin = number_text(comparison.ratio.at(at)) + "×";
  verdict.margin_text =
      fmt::format("lower Fréchet distance than {} at NFE {}: {} against {}", other.model(), at,
                  number_text(verdict.winner->scores.at(at).mean), number_text(other.scores.at(at).mean));
  return verdict;
}

}  // namespace couplet
