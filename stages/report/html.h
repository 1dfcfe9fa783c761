// The report as one HTML file: no scripts, nothing fetched, pictures and plots inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// A stage's training loss; any number of points, thinned when drawn.
struct LossCurve {
  std::string stage;  ///< "teacher", "student/nf-0": stages alike up to the '/' share a plot
  std::vector<std::pair<double, double>> points;  ///< (training images seen, loss), ascending
};

/// A grid of samples from the shared noise: the cell (coupling, NFE) of the comparison.
struct SamplePicture {
  std::string title;           ///< "nf, Euler, uniform grid": its caption and alternative text
  std::string coupling;        ///< the column; "teacher", "real" for what has no NFE
  std::int64_t nfe = 0;        ///< the row; 0: above the others
  std::filesystem::path path;  ///< a PNG file; one that is not there leaves a note in its place
};

struct ReportData {
  std::string title;       ///< of the run
  nlohmann::json results;  ///< results.json (docs/metrics.md); a null or empty one leaves the scores out
  std::vector<nlohmann::json>
      stages;  ///< stage.json of each stage, in the graph's order: stage, state, seconds, ranks, attempts ...
  std::vector<LossCurve> curves;
  std::vector<SamplePicture> pictures;
  std::string config;   ///< the resolved configuration, an INI text
  std::string command;  ///< that makes the run again
  std::string program;  ///< name and version
};

/// The whole page. What is missing is left out. All text is escaped.
std::string report_html(const ReportData& data);

/// At most `most` points: means over equal runs of points, in both coordinates. Values that are not finite are left
/// out.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points,
                                               std::size_t most = 300);
/// Reads "step" and "loss" of every line of a stage's metrics.jsonl; step s (from 0) has seen (s + 1) · batch images.
/// Lines without them, and a last line cut short by a kill, are passed over.
LossCurve read_loss_curve(const std::string& stage, const std::filesystem::path& metrics_jsonl, std::int64_t batch);

}  // namespace couplet
