// What the report shows, read from a run directory of however much of a run is finished.
#pragma once

#include "pipeline/run/stage_context.h"
#include "stages/report/data/coupling_facts.h"
#include "stages/report/data/judged_couplings.h"
#include "stages/report/data/loss_curve.h"
#include "stages/report/data/point_panels.h"
#include "stages/report/data/provenance.h"

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

enum class PictureKind {
  grid,           ///< samples of a student from the noise that all students share
  teacher,        ///< samples of the teacher
  trajectory,     ///< a student's states from noise to image
  nearest,        ///< samples, and below each its nearest training image
  reconstructed,  ///< held-out images, as their latents keep them
  restored        ///< low resolution, what a student made of it, and the image
};

/// A picture of the evaluate stage.
struct SamplePicture {
  PictureKind kind = PictureKind::grid;
  std::string student;         ///< its name; empty: the teacher
  std::filesystem::path path;  ///< a PNG file; one that is not there leaves a note in its place
  std::int64_t nfe = 0;        ///< of a grid
  std::string solver = {};     ///< of a grid: "Euler"
  std::string grid = {};       ///< of times, of a grid of samples: "uniform"
  bool denoised = false;       ///< of the teacher
  double guidance = 1;         ///< of a grid
  double temperature = 1;      ///< likewise
  double ema = -1;             ///< of a grid: as ScoreRecord's
};

/// What the report shows of one run.
struct RunReport {
  std::string name;
  bool has_students = true;            ///< false of a run that trains its teacher alone
  nlohmann::json results;              ///< results.json (docs/metrics.md); a null or empty one leaves the scores out
  std::vector<nlohmann::json> stages;  ///< stage.json of each stage, in the graph's order: stage, state, seconds,
                                       ///< ranks, attempts ...; "rate" and "waiting" besides, each a `value` and `unit`
  std::vector<LossCurve> curves;
  std::vector<SamplePicture> pictures;
  std::vector<PointPanels> points;
  std::int64_t image_height = 0;  ///< of an image of the data set, in pixels; 0: not known
  std::vector<CouplingFacts> tables;
  std::vector<JudgedCoupling> couplings;
  std::vector<Fact> provenance;  ///< versions and content hashes
  std::string config;            ///< the resolved configuration, an INI text
  std::string command;           ///< makes the run again
};

struct ReportData {
  std::string title;
  std::string program;  ///< name and version of what makes the report
  std::vector<RunReport> runs;
  std::filesystem::path folder = {};  ///< where the report will lie: it names pictures from there
};

/// A run is called as its directory is.
std::string run_name(const RunDirectory& run);
/// Everything that is there of a run with this configuration.
RunReport read_run_report(const RunView& view);

}  // namespace couplet
