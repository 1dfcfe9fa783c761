#include "stages/results/facts.h"

#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

namespace couplet {
namespace {

/// The models that have a likelihood: run, model, coupling; teachers first.
std::vector<ScoreRecord> models(const Scores& scores) {
  std::vector<ScoreRecord> found;
  const auto same = [](const ScoreRecord& a, const ScoreRecord& b) {
    return a.run == b.run && a.model == b.model && a.coupling == b.coupling && a.metric == b.metric;
  };
  for (const ScoreRecord& record : scores.records) {
    if (record.metric != "bits_per_dim" && record.metric != "noised_bits_per_dim") continue;
    if (std::ranges::none_of(found, [&](const ScoreRecord& other) { return same(record, other); }))
      found.push_back(record);
  }
  std::ranges::stable_partition(found, [](const ScoreRecord& record) { return record.model == "teacher"; });
  return found;
}

std::string joined(const std::vector<std::string>& parts, const char* between = ", ") {
  return fmt::format("{}", fmt::join(parts, between));
}

std::string teacher_text(const ScoreLevels& levels) {
  std::vector<std::string> parts;
  if (levels.teacher) parts.push_back(score_text(*levels.teacher) + " as sampled");
  if (levels.teacher_denoised) parts.push_back(score_text(*levels.teacher_denoised) + " after its denoising step");
  return joined(parts);
}

/// Fresh noise beside the teacher's own noise of held-out images, with equal solver and grid: the difference is the
/// teacher's error.
std::string prior_mismatch_text(const Scores& scores, const ScoreCurve& fresh) {
  const ScoreCurve* table = scores.curve(fresh.coupling, "table", fresh.run);
  std::vector<std::string> parts;
  if (!table) return "";
  for (const auto& [nfe, other] : table->scores) {
    const auto same = scores.in_setting(fresh, nfe, other, "frechet_distance");
    if (!same) continue;
    parts.push_back(fmt::format("{} → {} at NFE {}", number_text(same->mean), number_text(other.mean), nfe));
  }
  return joined(parts);
}

/// A metric of all curves that have it.
std::string curves_text(const Scores& scores, const std::string& metric) {
  std::vector<std::string> parts;
  for (const ScoreCurve& curve : scores.curves) {
    const auto found = scores.of_curve(curve, metric);
    if (found) parts.push_back(fmt::format("{} {}", curve.label(), score_text(*found)));
  }
  return joined(parts, "; ");
}

std::string pairing_text(const Scores& scores, const ScoreCurve& curve) {
  std::vector<std::string> parts;
  for (const char* split : {"train", "test"}) {
    const auto find = [&](const char* metric) {
      return scores.summary([&](const ScoreRecord& record) {
        return record.metric == metric && record.run == curve.run && record.coupling == curve.coupling &&
               record.split == split;
      });
    };
    const auto ratio = find("pairing_distance_ratio"), nearest = find("pairing_nearest_rate");
    if (ratio)
      parts.push_back(fmt::format("{} rows at {} of the class's median distance", split, number_text(ratio->mean)));
    if (nearest) parts.push_back(fmt::format("{} rows nearest their image in {:.1f} %", split, 100 * nearest->mean));
    const auto psnr = find("psnr"), ssim = find("ssim");
    if (psnr) parts.push_back(fmt::format("{} rows' PSNR {:.2f} dB", split, psnr->mean));
    if (ssim) parts.push_back(fmt::format("{} rows' SSIM {:.3f}", split, ssim->mean));
  }
  return joined(parts);
}

std::string class_accuracy_text(const Scores& scores, const std::string& run) {
  std::vector<std::string> parts;
  for (const auto& [model, denoised, name] : {std::tuple{"teacher", false, "teacher"},
                                              {"teacher", true, "teacher, denoised"},
                                              {"real", false, "real test split"}}) {
    const auto accuracy = scores.summary([&, m = std::string(model), d = denoised](const ScoreRecord& record) {
      return record.metric == "class_accuracy" && record.run == run && record.model == m && record.denoised == d;
    });
    if (accuracy) parts.push_back(fmt::format("{} {:.3f}", name, accuracy->mean));
  }
  return joined(parts);
}

std::string likelihood_text(const Scores& scores, const std::string& metric) {
  std::vector<std::string> parts;
  for (const Likelihood& found : likelihoods(scores)) {
    if (found.metric == metric) parts.push_back(fmt::format("{} {}", found.model, found.text()));
  }
  return joined(parts, "; ");
}

}  // namespace

std::string Likelihood::text() const {
  std::string text = fmt::format("{:.4g}", score.mean);
  if (score.seeds > 1) text += fmt::format(" ± {:.2g}", score.sd);
  if (score.uncertainty > 0) text += fmt::format(" ± {:.2g}{}", score.uncertainty, score.seeds > 1 ? " (images)" : "");
  return text;
}

std::vector<Likelihood> likelihoods(const Scores& scores) {
  std::vector<Likelihood> all;
  for (const ScoreRecord& model : models(scores)) {
    const auto score = scores.summary([&](const ScoreRecord& record) {
      return record.metric == model.metric && record.run == model.run && record.model == model.model &&
             record.coupling == model.coupling;
    });
    std::string name = model.model == "student" ? model.coupling : model.model;
    if (!model.run.empty()) name = model.run + ": " + name;
    all.push_back({name, model.metric, model.trace, *score});
  }
  return all;
}

std::vector<Fact> score_facts(const Scores& scores) {
  std::vector<Fact> facts;
  const auto add = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) facts.push_back({name, text});
  };
  for (const ScoreLevels& levels : scores.levels) {
    add(levels.name("teacher"), teacher_text(levels));
    if (levels.real) add(levels.name("real test split"), score_text(*levels.real));
  }
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise != "fresh") continue;
    add("prior mismatch of " + curve.model() + ", fresh z → held-out table z", prior_mismatch_text(scores, curve));
  }
  add("curvature κ", curves_text(scores, "curvature"));
  add("straightness", curves_text(scores, "straightness"));
  add("transport cost", curves_text(scores, "transport_cost"));
  for (const ScoreCurve& curve : scores.curves) {
    if (curve.noise == "fresh") add("pairing of " + curve.model(), pairing_text(scores, curve));
  }
  for (const ScoreCurve& curve : scores.curves) {
    const auto distance = scores.of_curve(curve, "teacher_distance");
    if (distance)
      add("distance of " + curve.label() + " from the teacher's image of the same z", score_text(*distance));
  }
  add("bits/dim of held-out images", likelihood_text(scores, "bits_per_dim"));
  add("bits/dim of noised held-out images", likelihood_text(scores, "noised_bits_per_dim"));
  for (const ScoreLevels& levels : scores.levels)
    add(levels.name("class accuracy"), class_accuracy_text(scores, levels.run));
  if (scores.bad_samples > 0) {
    add("samples with NaN or infinite values", fmt::format("{} (scored, not drawn again)", scores.bad_samples));
  }
  if (scores.not_finite > 0) add("records without a finite value", fmt::format("{} (left out)", scores.not_finite));
  return facts;
}

}  // namespace couplet
