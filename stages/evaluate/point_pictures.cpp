#include "stages/evaluate/point_pictures.h"

#include "method/solvers/likelihood.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/loader/table_rows.h"
#include "stages/data/run_source.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace couplet {
namespace {

using Panels = nlohmann::json;

constexpr std::int64_t drawn_points = 1000, density_side = 40, arrows_side = 15;
/// Of a picture: nobody sees more.
constexpr Tolerance drawn_tolerance{1e-3, 1e-3};

void publish_panels(const std::filesystem::path& path, const Panels& panels) {
  std::filesystem::create_directories(path.parent_path());
  publish_file(path, nlohmann::json{{"panels", panels}}.dump() + "\n");
}

/// Figures of a drawing, to three decimals; what is not finite is null.
nlohmann::json rounded(const at::Tensor& values) {
  if (values.dim() == 0) return std::round(values.item<double>() * 1000) / 1000;
  nlohmann::json list = nlohmann::json::array();
  for (std::int64_t i = 0; i < values.size(0); ++i) list.push_back(rounded(values[i]));
  return list;
}

/// Half of the side of the square around the origin that is drawn: all training points lie in it.
double half_side(const Evaluation& evaluation) {
  const std::int64_t rows = std::min(drawn_points, evaluation.train.rows());
  const double largest = read_rows(evaluation.train, "image", 0, rows).abs().max().item<double>();
  return std::ceil(largest * 11) / 10;
}

/// The middles of side x side cells, row by row from below: float64 [side², 2].
at::Tensor cell_middles(double half, std::int64_t side) {
  const at::Tensor along = ((at::arange(side, at::kDouble) + 0.5) * (2.0 / static_cast<double>(side)) - 1) * half;
  return at::stack({along.repeat({side}), along.repeat_interleave(side)}, 1);
}

nlohmann::json density_panel(double half, const at::Tensor& log_density) {
  return {{"kind", "density"},
          {"half", half},
          {"density", {{"side", density_side}, {"values", rounded(log_density.exp().nan_to_num(0, 0, 0))}}}};
}

nlohmann::json points_panel(double half, const at::Tensor& points) {
  const at::Tensor some = points.narrow(0, 0, std::min(drawn_points, points.size(0)));
  return {{"kind", "samples"}, {"half", half}, {"points", rounded(some)}};
}

/// The points as images of no class.
Condition no_classes(std::int64_t points, const c10::Device& device) {
  return Condition{at::zeros({points}, at::kLong), {}}.to(device);
}

}  // namespace

void publish_points(const Evaluation& evaluation, const std::filesystem::path& path, const at::Tensor& points) {
  publish_panels(path, Panels::array({points_panel(half_side(evaluation), points)}));
}

void publish_data_panels(const Evaluation& evaluation, const std::filesystem::path& path) {
  const double half = half_side(evaluation);
  const PointDensity known = point_density(evaluation.context.config.prepare).value();
  Panels panels = Panels::array();
  if (known.log_density) panels.push_back(density_panel(half, known.log_density(cell_middles(half, density_side))));
  const std::int64_t rows = std::min(drawn_points, evaluation.test.rows());
  panels.push_back(points_panel(half, read_rows(evaluation.test, "image", 0, rows).flatten(1)));
  publish_panels(path, panels);
}

void publish_paths(const Evaluation& evaluation, const std::filesystem::path& path,
                   const std::vector<at::Tensor>& states) {
  const at::Tensor ways = at::stack(states, 1).flatten(2).cpu();
  publish_panels(path, Panels::array({{{"kind", "paths"},
                                       {"half", half_side(evaluation)},
                                       {"paths", rounded(ways)},
                                       {"points", rounded(ways.select(1, -1))}}}));
}

void publish_field(const Evaluation& evaluation, const std::filesystem::path& path, const StudentFlow& flow) {
  const at::NoGradGuard no_grad;
  const double half = half_side(evaluation);
  const c10::Device device = evaluation.context.device;
  const at::Tensor at_points = cell_middles(half, arrows_side).to(at::kFloat);
  const std::int64_t points = at_points.size(0);
  const VelocityField velocity = flow.velocity(no_classes(points, device));
  const at::Tensor x = at_points.view({points, 2, 1, 1}).to(device);
  Panels panels = Panels::array();
  for (const double time : {1.0, 0.5, 0.1}) {
    // Samples go from t = 1 to t = 0: against the velocity dx/dt.
    const at::Tensor moved = -velocity(x, time).flatten(1).cpu();
    panels.push_back(
        {{"kind", "field"}, {"half", half}, {"time", time}, {"arrows", rounded(at::cat({at_points, moved}, 1))}});
  }
  publish_panels(path, panels);
}

void publish_density(const Evaluation& evaluation, const std::filesystem::path& path, const StudentFlow& flow) {
  constexpr std::int64_t slice_rows = 400;
  const double half = half_side(evaluation);
  const c10::Device device = evaluation.context.device;
  const at::Tensor all = cell_middles(half, density_side).to(at::kFloat);
  std::vector<at::Tensor> parts;
  for_each_slice(
      evaluation.context.communicator, {.rows = all.size(0), .slice_rows = slice_rows, .columns = 1, .stopped = ""},
      [&](std::int64_t first) {
        const std::int64_t count = std::min(slice_rows, all.size(0) - first);
        const at::Tensor x = all.narrow(0, first, count).view({count, 2, 1, 1}).to(device);
        const FieldOfRows field_of = [&](std::int64_t, std::int64_t rows) {
          return flow.velocity(no_classes(rows, device));
        };
        return flow_likelihood(field_of, x, drawn_tolerance, {}, flow.prior_scale()).nats.unsqueeze(1);
      },
      [&](const at::Tensor& values) { parts.push_back(values); });
  if (evaluation.context.communicator.is_root())
    publish_panels(path, Panels::array({density_panel(half, at::cat(parts).flatten())}));
}

}  // namespace couplet
