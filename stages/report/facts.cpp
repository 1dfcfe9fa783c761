#include "stages/report/facts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tuple>

namespace couplet {

namespace {

std::string joined(const std::vector<std::string>& parts, const char* between = ", ") {
  return fmt::format("{}", fmt::join(parts, between));
}

std::string teacher_text(const Scores& scores) {
  std::vector<std::string> parts;
  if (scores.teacher) parts.push_back(score_text(*scores.teacher) + " as sampled");
  if (scores.teacher_denoised) parts.push_back(score_text(*scores.teacher_denoised) + " after its denoising step");
  return joined(parts);
}

/// Fresh noise beside the teacher's own noise of held-out images, with equal solver and grid: the difference is the
/// teacher's error.
std::string prior_mismatch_text(const Scores& scores, const ScoreCurve& fresh) {
  const ScoreCurve* table = scores.curve(fresh.coupling, "table");
  std::vector<std::string> parts;
  if (!table) return "";
  for (const auto& [nfe, other] : table->scores) {
    const auto same = scores.in_setting(fresh, nfe, other, "frechet_distance");
    if (!same) continue;
    parts.push_back(fmt::format("{} → {} at NFE {}", number_text(same->mean), number_text(other.mean), nfe));
  }
  return joined(parts);
}

std::string curvature_text(const Scores& scores) {
  std::vector<std::string> parts;
  for (const ScoreCurve& curve : scores.curves) {
    const auto kappa = scores.summary([&](const ScoreRecord& record) {
      return record.metric == "curvature" && record.coupling == curve.coupling && record.noise == curve.noise;
    });
    if (kappa) parts.push_back(fmt::format("{} {}", curve.label(), score_text(*kappa)));
  }
  return joined(parts, "; ");
}

std::string pairing_text(const Scores& scores, const std::string& coupling) {
  std::vector<std::string> parts;
  for (const char* split : {"train", "test"}) {
    const auto find = [&](const char* metric) {
      return scores.summary([&](const ScoreRecord& record) {
        return record.metric == metric && record.coupling == coupling && record.split == split;
      });
    };
    const auto ratio = find("pairing_distance_ratio"), nearest = find("pairing_nearest_rate");
    if (ratio)
      parts.push_back(fmt::format("{} rows at {} of the class's median distance", split, number_text(ratio->mean)));
    if (nearest) parts.push_back(fmt::format("{} rows nearest their image in {:.1f} %", split, 100 * nearest->mean));
  }
  return joined(parts);
}

std::string class_accuracy_text(const Scores& scores) {
  std::vector<std::string> parts;
  for (const auto& [model, denoised, name] : {std::tuple{"teacher", false, "teacher"},
                                              {"teacher", true, "teacher, denoised"},
                                              {"real", false, "real test split"}}) {
    const auto accuracy = scores.summary([&, m = std::string(model), d = denoised](const ScoreRecord& record) {
      return record.metric == "class_accuracy" && record.model == m && record.denoised == d;
    });
    if (accuracy) parts.push_back(fmt::format("{} {:.3f}", name, accuracy->mean));
  }
  return joined(parts);
}

}  // namespace

std::vector<Fact> score_facts(const Scores& scores) {
  std::vector<Fact> facts;
  const auto add = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) facts.push_back({name, text});
  };
  add("teacher", teacher_text(scores));
  if (scores.real) add("real test split", score_text(*scores.real));
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    add("prior mismatch of " + curve.coupling + ", fresh z → held-out table z", prior_mismatch_text(scores, curve));
  }
  add("curvature κ", curvature_text(scores));
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise == "fresh") add("pairing of " + curve.coupling, pairing_text(scores, curve.coupling));
  }
  for (const ScoreCurve& curve : scores.curves) {
    const auto distance = scores.summary([&](const ScoreRecord& record) {
      return record.metric == "teacher_distance" && record.coupling == curve.coupling && record.noise == curve.noise;
    });
    if (distance)
      add("distance of " + curve.label() + " from the teacher's image of the same z", score_text(*distance));
  }
  add("class accuracy", class_accuracy_text(scores));
  if (scores.bad_samples > 0) {
    add("samples with NaN or infinite values", fmt::format("{} (scored, not drawn again)", scores.bad_samples));
  }
  if (scores.not_finite > 0) add("records without a finite value", fmt::format("{} (left out)", scores.not_finite));
  return facts;
}

}  // namespace couplet
