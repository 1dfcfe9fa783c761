// What the report shows, read from a run directory of however much of a run is finished.
#pragma once

#include "pipeline/run/stage_context.h"
#include "stages/report/data/coupling_facts.h"
#include "stages/report/data/loss_curve.h"
#include "stages/results/facts.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

enum class PictureKind { samples, trajectory, nearest };

/// A picture of the evaluate stage.
struct SamplePicture {
  std::string title;           ///< "nf, Euler, uniform grid": its caption and alternative text
  std::string coupling;        ///< the column; "teacher", "real" for what has no NFE
  std::int64_t nfe = 0;        ///< the row of a grid of samples from the shared noise; 0: it is none
  std::filesystem::path path;  ///< a PNG file; one that is not there leaves a note in its place
  PictureKind kind = PictureKind::samples;
};

/// One run.
struct RunReport {
  std::string name;
  nlohmann::json results;              ///< results.json (docs/metrics.md); a null or empty one leaves the scores out
  std::vector<nlohmann::json> stages;  ///< stage.json of each stage, in the graph's order: stage, state, seconds,
                                       ///< ranks, attempts ...; "rate" and "waiting" besides, texts
  std::vector<LossCurve> curves;
  std::vector<SamplePicture> pictures;
  std::int64_t images_across = 0;  ///< of a grid of samples, whose images are square; 0: not known
  std::vector<CouplingFacts> tables;
  std::vector<Fact> provenance;  ///< versions and content hashes
  std::string config;            ///< the resolved configuration, an INI text
  std::string command;           ///< that makes the run again
};

struct ReportData {
  std::string title;
  std::string program;  ///< name and version of what makes the report
  std::vector<RunReport> runs;
};

/// The name of its directory.
std::string run_name(const RunDirectory& run);
/// Everything that is there of a run with this configuration.
RunReport read_run_report(const RunView& view);

}  // namespace couplet
