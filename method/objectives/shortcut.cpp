// Shortcut models (Frans et al., arXiv 2410.12557): one step is to lead where two half ones do, from steps so small
// that they follow the velocity up to the one from noise to image.
#include "method/objectives/flow_map.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>

namespace couplet {
namespace {

/// Steps of 1, 1/2, … 1/64 are learnt; halves of the last take the velocity.
constexpr std::int64_t shortcut_levels = 7;

class ShortcutObjective : public FlowMap {
public:
  ShortcutObjective(std::shared_ptr<const Path> path, const ObjectiveOptions& options)
      : FlowMap(std::move(path), options, {.name = "shortcut"}) {}

  /// The mean of the two half steps' velocities. What training drops is not dropped here.
  at::Tensor map_target(Field& field, const MapRows& rows) const override {
    Condition condition = rows.condition;
    condition.positions.reset();
    const at::Tensor half = rows.span() / 2;
    const at::Tensor asked = at::where(half < smallest_half, 0, half);
    const at::Tensor first = mean_velocity(field, rows.x_t, rows.t, asked, condition);
    const at::Tensor middle = rows.x_t - per_row(half, first) * first;
    return (first + mean_velocity(field, middle, rows.t - half, asked, condition)) / 2;
  }

protected:
  /// A step of 2^-level, each level as likely, from one of its multiples.
  RowTimes draw_map_times(double, Draws& draws) const override {
    const double step = std::ldexp(1.0, -static_cast<int>(draws.below(shortcut_levels)));
    return {static_cast<double>(1 + draws.below(static_cast<std::uint64_t>(1 / step))) * step, step};
  }
  double target_passes() const override { return 2; }

private:
  /// Between the halves of the last two levels.
  static constexpr double smallest_half = 0.75 / (1 << (shortcut_levels - 1));
};

}  // namespace

ObjectiveKind shortcut_objective() {
  return {.name = "shortcut",
          .help = "shortcut model: a flow map whose steps lead where two half ones do (arXiv 2410.12557)",
          .keys = {"student.map-share"},
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            return std::make_shared<ShortcutObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
