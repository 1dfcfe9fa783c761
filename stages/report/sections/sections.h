// The sections of the report, each a function from what was read to HTML; empty where there is nothing to show.
#pragma once

#include "stages/report/data/run_report.h"
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

  /// Of several: names carry their run's.
  bool several() const { return data.runs.size() > 1; }
  std::string name(const RunReport& run, const std::string& what) const {
    return several() ? run.name + ": " + what : what;
  }
  /// Each coupling of each run has its place in the order of first appearance: its colour and its markers' form
  /// everywhere on the page.
  int place(const std::string& run, const std::string& coupling) const;
  int colour(const std::string& run, const std::string& coupling) const { return place(run, coupling) % line_colours; }

  /// Classes c0 ... c7 of the style sheet: couplings', then those of what has no coupling.
  static constexpr int line_colours = 5, colour_real = 5, colour_denoised = 6, colour_teacher = 7;
};

/// A picture and the run that it is of.
struct PagePicture {
  const RunReport* run;
  const SamplePicture* picture;
};
/// Those of one kind, in the order of their couplings' places.
std::vector<PagePicture> pictures_of(const Page& page, PictureKind kind);

/// The finding, a picture of it, and how to run it again: the first screen.
std::string verdict_section(const Page& page);
/// Fréchet distance against NFE, as a plot and a table, and what stands beside it.
std::string score_section(const Page& page);
/// The other metrics of the same samples.
std::string companion_section(const Page& page);
/// Grids of samples from the same noise, by coupling and NFE.
std::string sample_section(const Page& page);
/// From noise to image, and how straight the way is.
std::string path_section(const Page& page);
std::string likelihood_section(const Page& page);
/// Coupling tables.
std::string coupling_section(const Page& page);
std::string training_section(const Page& page);
std::string stage_section(const Page& page);
/// The command, the configuration, versions and hashes.
std::string provenance_section(const Page& page);
/// Every record.
std::string record_section(const Page& page);

}  // namespace couplet
