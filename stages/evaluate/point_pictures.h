// What the report draws of points of the plane: panels of figures, as JSON files among the pictures (docs/report.md).
#pragma once

#include "method/sampling/guided_field.h"
#include "stages/evaluate/evaluation.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Publishes some of the points [n, values].
void publish_points(const Evaluation& evaluation, const std::filesystem::path& path, const at::Tensor& points);
/// Publishes the data set itself: the density that it is known to have, and held-out points.
void publish_data_panels(const Evaluation& evaluation, const std::filesystem::path& path);
/// Publishes the states of samples on their way, as `trajectory` gives them.
void publish_paths(const Evaluation& evaluation, const std::filesystem::path& path,
                   const std::vector<at::Tensor>& states);
/// Publishes the learnt field at some times.
void publish_field(const Evaluation& evaluation, const std::filesystem::path& path, const StudentFlow& flow);
/// Publishes the density that the flow has learnt, by its likelihood on a grid. Collective.
void publish_density(const Evaluation& evaluation, const std::filesystem::path& path, const StudentFlow& flow);

}  // namespace couplet
