// What a stage's metrics.jsonl says of its training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

using Points = std::vector<std::pair<double, double>>;

/// A stage's losses; any number of points, thinned when drawn.
struct LossCurve {
  std::string stage;  ///< "teacher", "student/nf-0": stages alike up to the '/' share a plot
  Points points;      ///< (training images seen, loss), ascending
  Points test;        ///< the same with the averaged weights' loss of held-out images, where it was measured
  double images = 0, seconds = 0;  ///< trained on, and how long their steps took
  double stalled = 0;              ///< of these seconds: waiting for data or for other ranks
};

/// Reads "step", "loss" and "test_loss" of every line of a stage's metrics.jsonl; step s (from 0) has seen
/// (s + 1) · batch images. Lines without a step, and a last line cut short by a kill, are passed over.
LossCurve read_loss_curve(const std::string& stage, const std::filesystem::path& metrics_jsonl, std::int64_t batch);

/// At most `most` points: means over equal runs of points, in both coordinates. Values that are not finite are left
/// out.
Points thinned(const Points& points, std::size_t most = 300);
/// Leaves out the first points that lie above all of the later ones from `settled` of the way on: the steep fall at the
/// start, which would flatten the rest of a plot.
Points without_start(const Points& points, double settled = 0.03);

}  // namespace couplet
