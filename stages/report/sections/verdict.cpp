#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"
#include "stages/results/likelihoods.h"
#include "stages/results/metric_names.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <utility>
#include <vector>

namespace couplet {

namespace {

constexpr std::int64_t strip_rows = 3;

Json named(const Page& page, const ScoreCurve* curve) {
  if (!curve) return nullptr;
  return {{"name", curve->model()}, {"student", curve->student}, {"colour", page.colour(curve->run, curve->student)}};
}

/// True if every student is called as its coupling is.
bool compares_couplings(const Scores& scores) {
  return std::ranges::all_of(scores.curves, [](const ScoreCurve& curve) { return curve.student == curve.coupling; });
}

Json rivals_json(const std::vector<Rival>& rivals) {
  Json all = Json::array();
  for (const Rival& rival : rivals)
    all.push_back({{"name", rival.curve->model()}, {"level", rival.level}, {"best_at", rival.best_at}});
  return all;
}

/// The best score where there is nobody to compare with.
Json alone_json(const Page& page, const ScoreCurve* curve) {
  if (!curve) return nullptr;
  const auto& [nfe, score] =
      *std::ranges::min_element(curve->scores, {}, [](const auto& each) { return each.second.mean; });
  return {{"model", named(page, curve)}, {"score", score_json(nfe, score)}, {"one_seed", score.seeds == 1}};
}

/// The likelihood of a run's teacher; null where it was not measured.
Json teacher_likelihood(const Scores& scores, const ScoreLevels& levels) {
  const std::vector<Likelihood> all = likelihoods(scores);
  const auto found = std::ranges::find(all, levels.name("teacher"), &Likelihood::model);
  if (found == all.end()) return nullptr;
  return {{"title", metric_name(found->metric).title}, {"images", found->score.samples}, {"text", found->text()}};
}

/// The teachers of runs that train nothing else; none where any run has students, which are then what is asked about.
Json teachers_json(const Page& page) {
  Json all = Json::array();
  if (std::ranges::any_of(page.data.runs, &RunReport::has_students)) return all;
  for (const ScoreLevels& levels : page.scores.levels) {
    const bool denoised = levels.teacher_denoised.has_value();
    const auto& score = denoised ? levels.teacher_denoised : levels.teacher;
    all.push_back({{"run", levels.run},
                   {"score", score ? figure(*score) : Json()},
                   {"denoised", denoised},
                   {"samples", score ? Json(score->samples) : Json()},
                   {"likelihood", teacher_likelihood(page.scores, levels)}});
  }
  return all;
}

/// How to get the same again: of several runs the winner's, the others stand below.
Json command(const Page& page) {
  const RunReport* chosen = nullptr;
  for (const RunReport& run : page.data.runs)
    if (!chosen || (page.verdict.winner && run.name == page.verdict.winner->run)) chosen = &run;
  return chosen && !chosen->command.empty() ? Json(chosen->command) : Json();
}

/// True for samples of the curve's student, weights, guidance and temperature; scores of old did not record their
/// weights.
bool is_of(const SamplePicture& picture, const ScoreCurve& curve) {
  return picture.kind == PictureKind::grid && picture.student == curve.student && picture.guidance == curve.guidance &&
         picture.temperature == curve.temperature && curve.candidates == 1 &&
         (picture.ema == curve.ema || curve.ema < 0);
}

/// The first rows of the curve's samples at one NFE; null where there are none.
Json strip(const Page& page, const ScoreCurve& curve, std::int64_t nfe) {
  for (const RunReport& run : page.data.runs) {
    if (page.several() && run.name != curve.run) continue;
    for (const SamplePicture& picture : run.pictures) {
      if (!is_of(picture, curve) || picture.nfe != nfe) continue;
      Json shown = picture_json(page, run, picture, strip_rows);
      shown["one_evaluation"] = nfe == 1;
      if (shown["there"] == true) return shown;
    }
  }
  return nullptr;
}

/// Samples of both sides, at the NFE where the winner is the furthest ahead of those with pictures.
Json strips(const Page& page) {
  const Comparison& against = page.verdict.against;
  Json both = Json::array();
  if (!page.verdict.winner) return both;
  double most = 0;
  for (const auto& [nfe, ratio] : against.ratio) {
    if (ratio <= most) continue;
    Json other = strip(page, *against.baseline, nfe), winner = strip(page, *against.curve, nfe);
    if (other.is_null() || winner.is_null()) continue;
    most = ratio;
    both = Json::array({std::move(other), std::move(winner)});
  }
  return both;
}

}  // namespace

Json verdict_section(const Page& page) {
  const Verdict& verdict = page.verdict;
  const bool compared = verdict.winner && !verdict.against.ratio.empty();
  Json section{{"by_coupling", compares_couplings(page.scores)},
               {"winner", named(page, verdict.winner)},
               {"best_at", verdict.best_at},
               {"best_everywhere", verdict.best_at.size() == verdict.compared},
               {"rivals", rivals_json(verdict.rivals)},
               {"against", compared ? comparison_json(verdict.against) : Json()},
               {"alone", alone_json(page, verdict.alone)},
               {"teachers", teachers_json(page)},
               {"network", page.scores.networks.empty() ? Json() : Json(page.scores.networks.front())},
               {"command", command(page)},
               {"pictures", strips(page)}};
  const ScoreSummary score = verdict.winner ? verdict.winner->scores.begin()->second : ScoreSummary{};
  section["samples"] = verdict.winner ? Json(score.samples) : Json();
  section["training_seeds"] = verdict.winner ? Json(score.seeds) : Json();
  section["one_seed"] = score.seeds == 1;
  Json comparisons = Json::array();
  for (const Comparison& comparison : page.comparisons) comparisons.push_back(comparison_json(comparison));
  section["comparisons"] = std::move(comparisons);
  return section;
}

}  // namespace couplet
