// What is said about scores, as data for templates: the page and the table on the terminal say the same.
#pragma once

#include "stages/report/html/template.h"
#include "stages/results/comparison.h"
#include "stages/results/scores.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// A figure as it is and as people read it.
Json figure(double value, const std::string& text);
Json figure(const ScoreSummary& score);
/// With the record's own uncertainty: "0.301 ± 0.012".
Json figure(const ScoreRecord& record);
/// A score at one NFE with its setting, spreads and seeds.
Json score_json(std::int64_t nfe, const ScoreSummary& score);

/// One student beside another. docs/report.md lists the fields.
Json comparison_json(const Comparison& comparison);
/// How sure a comparison is: over how many seeds, and where the difference lies within their spread.
Json confidence_json(const Comparison& comparison);
/// Says over how many seeds scores are spread; null where there is one of each kind.
Json spread_json(const Scores& scores);
/// What is said besides the curves: teacher (as sampled and denoised), held-out images, the noise of tables, prior
/// mismatch (equal solver and grid on both sides), curvature, straightness, transport cost, pairing fidelity of
/// training and test rows, distance from the teacher, likelihood, class accuracy, samples and records that are not
/// finite; those that there are.
Json facts_json(const Scores& scores);

}  // namespace couplet
