// What objectives share whose network is the flow map of its own velocity: u(x_t, t, s), the mean velocity along the
// path through x_t from an earlier time s to t, so that x_s = x_t - (t - s) u is reached in one step. The network is
// told the span t - s (Condition::span); at span 0, u is the velocity. What members differ in is how u over a span is
// tied to the velocity.
#pragma once

#include "method/objectives/objective.h"

#include <ATen/core/Tensor.h>

#include <memory>

namespace couplet {

/// Rows with a span that is not 0, on the straight lines between their images and noises.
struct MapRows {
  at::Tensor x_t;       ///< the states, [n, ...]
  at::Tensor velocity;  ///< of the lines, z - x
  at::Tensor t;         ///< [n]
  Condition condition;  ///< with the spans

  const at::Tensor& span() const { return condition.span; }
};

/// A share of the rows (student.map-share) learns u over spans; the others learn the velocity, by flow matching, at the
/// times of the objective velocity. What u is to be over a span follows from the network itself, which is asked for it
/// without gradients and in float32, whatever the precision: differences of its answers are learnt.
///
/// A row's error is E, the mean square of u - target; over a span it is of (u - target) / r, where a target moves u by
/// the share r only of what is wrong with it, and r E counts in the loss. With r below 1, u itself is computed in
/// float32 too, for the division makes its rounding larger. E is divided by
/// (E + c/d)^p, taken as a constant, with p = student.map-weight-power, the d values of a row, and c = 0.01: MeanFlow's
/// adaptive weight (arXiv 2505.13447 §4.3, of the sum of squares d E) but for the constant factor d^(p - 1), which
/// leaves E itself at p = 0.
class FlowMap : public Objective {
public:
  struct Kind {
    const char* name;         ///< of the objective
    double weight_power = 0;  ///< p
    double reach = 1;         ///< r
  };
  /// Refuses any path but the straight one.
  FlowMap(std::shared_ptr<const Path> path, const ObjectiveOptions& options, const Kind& kind);

  bool is_flow_map() const override { return true; }
  bool takes_guidance() const override { return false; }
  bool needs_all_digits() const override { return kind_.reach < 1 || Objective::needs_all_digits(); }
  /// Rows that are weighted by their own errors do not learn the mean.
  bool has_score() const override { return kind_.weight_power == 0; }
  RowTimes draw_times(Draws& draws) const override;
  double training_passes(std::int64_t values) const override;
  double error_passes(std::int64_t) const override { return 1 + map_share_ * target_passes(); }

  /// At span 0.
  at::Tensor target(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const override {
    return path().velocity(x, z, t);
  }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor&, const at::Tensor&) const override { return output; }

  /// Unweighted, of rows whose spans the condition says.
  at::Tensor errors(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                    const Condition& condition) const override;
  at::Tensor loss(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                  const Condition& condition) const override;

  /// What the network is to put out over the rows' spans. Called without gradients and autocast.
  virtual at::Tensor map_target(Field& field, const MapRows& rows) const = 0;

protected:
  /// Times of a row with a span: `time` and another draw of the time law.
  virtual RowTimes draw_map_times(double time, Draws& draws) const;
  /// Forward passes of a row's `map_target`.
  virtual double target_passes() const = 0;

private:
  double map_share_;
  Kind kind_;
};

/// What the field puts out, in float32, at states of its own times and over spans of its own, of the rows' conditions.
at::Tensor mean_velocity(Field& field, const at::Tensor& x, const at::Tensor& t, const at::Tensor& span,
                         Condition condition);

/// du/dt of the rows along (direction, 1): of the network's u(x, t, span) as x moves by `direction`, t and the span by
/// 1 a unit of time, so that t - span stays. By a central difference over ± `step`.
///
/// A forward derivative would be exact, but the custom operations of pipeline/tensor have none (LibTorch has no forward
/// mode for those written in C++), and a double backward pass costs three times as much and keeps all activations. The
/// difference costs two passes; its relative error against the exact derivative is below 1e-3 where no wave of the time
/// turns by more than 0.03 a step (test `mean_flow`): it falls with step², and the rounding of the network grows with
/// 1 / step.
at::Tensor total_derivative(Field& field, const MapRows& rows, const at::Tensor& direction, double step);

}  // namespace couplet
