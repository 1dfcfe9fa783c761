// The sections of the report, each a function from what was read to the data of its template; null where there is
// nothing to show. docs/report.md lists the fields.
#pragma once

#include "stages/report/data/run_report.h"
#include "stages/report/html/template.h"
#include "stages/results/comparison.h"
#include "stages/results/scores.h"
#include "stages/results/verdict.h"

#include <string>
#include <vector>

namespace couplet {

/// What all sections are made of.
struct Page {
  explicit Page(const ReportData& report);

  const ReportData& data;
  Scores scores;
  std::vector<Comparison> comparisons;
  Verdict verdict;

  /// True if there are several runs: names carry their run's.
  bool several() const { return data.runs.size() > 1; }
  std::string name(const RunReport& run, const std::string& what) const {
    return several() ? run.name + ": " + what : what;
  }
  /// What stands before a colon in front of a name; empty where there is one run.
  std::string run_prefix(const RunReport& run) const { return several() ? run.name : ""; }
  /// Each student of each run has its place in the order of first appearance: its colour everywhere on the page.
  int place(const std::string& run, const std::string& student) const;
  int colour(const std::string& run, const std::string& student) const { return place(run, student) % line_colours; }

  /// Classes c0 ... c7 of the style sheet: students', then those of what is no student.
  static constexpr int line_colours = 5, colour_real = 5, colour_denoised = 6, colour_teacher = 7;
};

/// A picture file as templates have it: `path` from the report's folder, whether it is `there`, `png` in base64. Of a
/// sheet of images no more than its upper `rows` rows, where that can be cut between images; 0: the whole.
Json picture_json(const Page& page, const RunReport& run, const SamplePicture& picture, std::int64_t rows = 0);
/// The pictures of one kind, in the order of their students' places.
Json pictures_json(const Page& page, PictureKind kind);

/// What a plot's legend calls a line that is no model's, by its `kind`.
std::string line_name(const Json& line);

/// The finding, both sides' samples, and how to run it again: the first screen. Never null.
Json verdict_section(const Page& page);
/// Fréchet distance against NFE, as a plot and a table, and what stands beside it.
Json score_section(const Page& page);
/// The other metrics of the same samples.
Json other_metrics_section(const Page& page);
/// Of points of the plane: densities, samples, paths and learnt fields, each drawn, by model.
Json point_section(const Page& page);
/// Sheets of samples from the same noise, by student and NFE.
Json sample_section(const Page& page);
/// From noise to image, and how straight the way is.
Json path_section(const Page& page);
Json likelihood_section(const Page& page);
/// Likelihood, distance and evaluations by the adaptive solver; distance against NFE of fixed steps and of samplers
/// that add noise; the error of the adaptive solver against its tolerance.
Json efficiency_section(const Page& page);
/// Super-resolution: reference, enlarged low resolution and students beside each other.
Json restoration_section(const Page& page);
/// Of runs on latents: what these keep of held-out images.
Json latent_section(const Page& page);
/// Couplings beside each other, and each coupling table.
Json coupling_section(const Page& page);
Json training_section(const Page& page);
Json stage_section(const Page& page);
/// The command, the configuration, versions and hashes.
Json provenance_section(const Page& page);
/// Every record.
Json record_section(const Page& page);

}  // namespace couplet
