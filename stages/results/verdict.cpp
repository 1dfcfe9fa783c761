#include "stages/results/verdict.h"

#include <algorithm>
#include <map>
#include <ranges>
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

/// What the winner is set against.
const ScoreCurve* opponent(const Scores& scores, const ScoreCurve& winner, const std::vector<std::int64_t>& won) {
  const auto first = std::ranges::find_if(scores.curves, [&](const ScoreCurve& curve) {
    return curve.noise == "fresh" && curve.run == winner.run && curve.scores.contains(won.back());
  });
  const ScoreCurve* baseline = scores.counterpart(first->student, winner.run, winner);
  if (baseline && baseline != &winner && !compare(winner, *baseline).won().empty()) return baseline;
  std::vector<const ScoreCurve*> ranked = ranking(scores, won.front());
  std::erase(ranked, &winner);
  std::ranges::stable_partition(ranked, [&](const ScoreCurve* curve) { return curve->student != winner.student; });
  std::ranges::stable_partition(ranked,
                                [&](const ScoreCurve* curve) { return curve->temperature == winner.temperature; });
  const auto worse =
      std::ranges::find_if(ranked, [&](const ScoreCurve* curve) { return !compare(winner, *curve).level(); });
  return worse != ranked.end() ? *worse : ranked.front();
}

using BestAt = std::map<const ScoreCurve*, std::vector<std::int64_t>>;

/// The best at most NFE; of two with as many, at the lowest one; of these the first of the curves.
const ScoreCurve* find_winner(const Scores& scores, const BestAt& best) {
  const ScoreCurve* winner = nullptr;
  for (const ScoreCurve& curve : scores.curves) {
    const auto found = best.find(&curve);
    if (found == best.end()) continue;
    const auto& most = winner ? best.at(winner) : std::vector<std::int64_t>{};
    const bool more =
        found->second.size() != most.size() ? found->second.size() > most.size() : found->second.front() < most.front();
    if (more) winner = &curve;
  }
  return winner;
}

std::vector<Rival> find_rivals(const Scores& scores, const BestAt& best, const ScoreCurve& winner) {
  std::vector<Rival> rivals;
  for (const ScoreCurve& curve : scores.curves) {
    if (&curve == &winner || curve.noise != "fresh") continue;
    const auto found = best.find(&curve);
    const bool level = compare(winner, curve).level();
    if (found == best.end() && !level) continue;
    rivals.push_back({&curve, level, found == best.end() ? std::vector<std::int64_t>{} : found->second});
  }
  return rivals;
}

/// The curve from fresh noise with the lowest score of all.
const ScoreCurve* find_best(const Scores& scores) {
  const ScoreCurve* best = nullptr;
  const auto lowest = [](const ScoreCurve& curve) {
    return std::ranges::min(curve.scores | std::views::values | std::views::transform(&ScoreSummary::mean));
  };
  for (const ScoreCurve& curve : scores.curves)
    if (curve.noise == "fresh" && (!best || lowest(curve) < lowest(*best))) best = &curve;
  return best;
}

}  // namespace

Verdict find_verdict(const Scores& scores) {
  BestAt best;
  Verdict verdict;
  for (const std::int64_t nfe : scores.columns) {
    const auto ranked = ranking(scores, nfe);
    if (ranked.size() < 2) continue;
    ++verdict.compared;
    best[ranked.front()].push_back(nfe);
  }
  verdict.winner = find_winner(scores, best);
  if (!verdict.winner) {
    verdict.alone = find_best(scores);
    return verdict;
  }
  verdict.best_at = best.at(verdict.winner);
  verdict.rivals = find_rivals(scores, best, *verdict.winner);
  verdict.against = compare(*verdict.winner, *opponent(scores, *verdict.winner, verdict.best_at));
  return verdict;
}

}  // namespace couplet
