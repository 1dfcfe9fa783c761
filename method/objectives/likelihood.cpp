// Maximum likelihood of a continuous normalizing flow (arXiv 1806.07366; trace by Hutchinson's estimate, FFJORD, arXiv
// 1810.01367): -log p(x) itself, differentiated through the steps of a solver (discretise, then optimise).
#include "method/models/recompute.h"
#include "method/objectives/objective.h"
#include "method/solvers/divergence.h"
#include "pipeline/tensor/flops.h"
#include "pipeline/tensor/transformer_ops.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <memory>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// A state of the flow: [N, values + 1], the rows' values and the integral of the divergence that they have met.
class LikelihoodObjective : public Objective {
public:
  LikelihoodObjective(std::shared_ptr<const Path> path, const ObjectiveOptions& options)
      : Objective(std::move(path), options), steps_(options.cnf_steps), exact_(options.cnf_trace == "exact") {}

  bool is_of_density() const override { return true; }
  double training_passes(std::int64_t values) const override {
    // The forward pass, it again in the backward pass, and twice that for gradients of all that it computes.
    return 4 * error_passes(values);
  }
  double error_passes(std::int64_t values) const override {
    return static_cast<double>(evaluations_a_step * steps_ * (1 + (exact_ ? values : 1)));
  }

  /// Of the many flows that have the same likelihood, the one along the path.
  at::Tensor target(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const override {
    return path().velocity(x, z, t);
  }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor&, const at::Tensor&) const override { return output; }
  bool has_score() const override { return false; }
  bool takes_guidance() const override { return false; }

  /// -log p(x) of each row, nats a value. `z`: signs ±1, the probes of the estimate; `t` has no say.
  at::Tensor errors(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor&,
                    const Condition& condition) const override {
    const std::int64_t rows = x.size(0), values = x.numel() / rows;
    at::Tensor state = at::cat({x.flatten(1), at::zeros({rows, 1}, x.options())}, 1);
    for (std::int64_t step = 0; step < steps_; ++step) state = stepped(field, state, step, z, condition);
    const at::Tensor end = state.narrow(1, 0, values), thinning = state.select(1, values);
    const double constant = 0.5 * std::log(2 * std::numbers::pi);
    return (0.5 * end.square().sum(1) - thinning) / static_cast<double>(values) + constant;
  }
  at::Tensor loss(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                  const Condition& condition) const override {
    return errors(field, x, z, t, condition).mean();
  }

private:
  static constexpr std::int64_t evaluations_a_step = 4;

  /// The state after one step of the classical Runge-Kutta method. Of all that it computes, only the state before it is
  /// kept for the backward pass.
  at::Tensor stepped(Field& field, const at::Tensor& state, std::int64_t step, const at::Tensor& signs,
                     const Condition& condition) const {
    const double dt = 1.0 / static_cast<double>(steps_), from = static_cast<double>(step) * dt;
    const at::Tensor probes = exact_ ? at::Tensor() : signs.unsqueeze(0);
    const auto work = [&field, dt, from, probes, condition,
                       shape = signs.sizes().vec()](const std::vector<at::Tensor>& inputs) {
      const at::Tensor& y = inputs[0];
      const auto slope = [&](const at::Tensor& at_state, double t) {
        return slope_of(field, at_state, t, shape, probes, condition);
      };
      const at::Tensor k1 = slope(y, from), k2 = slope(y + k1 * (dt / 2), from + dt / 2),
                       k3 = slope(y + k2 * (dt / 2), from + dt / 2), k4 = slope(y + k3 * dt, from + dt);
      return y + (k1 + 2 * (k2 + k3) + k4) * (dt / 6);
    };
    return recomputed(work, {state}, field.parameters());
  }

  /// d/dt of a state. Recorded where the caller's mode says so; what the divergence needs is in any case.
  static at::Tensor slope_of(Field& field, const at::Tensor& state, double t, const std::vector<std::int64_t>& shape,
                             const at::Tensor& probes, const Condition& condition) {
    const Recorded recorded = at::GradMode::is_enabled() ? Recorded::yes : Recorded::no;
    const at::AutoGradMode with_gradients(true);
    const TwiceDifferentiable kernels;
    const at::Tensor values = state.narrow(1, 0, state.size(1) - 1).view(shape);
    const at::Tensor x =
        recorded == Recorded::yes && values.requires_grad() ? values : values.detach().requires_grad_(true);
    const at::Tensor v = field.forward(x, at::full({x.size(0)}, t, x.options()), condition).to(x.scalar_type());
    const at::Tensor thinning = divergence(v, x, probes, recorded);
    const at::Tensor slope = at::cat({v.flatten(1), thinning.unsqueeze(1)}, 1);
    return recorded == Recorded::yes ? slope : slope.detach();
  }

  std::int64_t steps_;
  bool exact_;
};

/// The flow knows nothing of a path but where it ends: N(0, I) at t = 1.
void require_straight(const Path& path, const std::string& section) {
  const at::Tensor t = at::tensor({0.25, 0.5}, at::kDouble);
  if (path.prior_scale() != 1 || path.first_time() != 0 || path.last_time() != 1 || !path.alpha(t).allclose(1 - t))
    refuse(
        "{0}.objective = likelihood trains a flow by its end at t = 1 alone, along no path: leave {0}.path at linear",
        section);
}

}  // namespace

ObjectiveKind likelihood_objective() {
  return {.name = "likelihood",
          .help = "maximum likelihood of the continuous flow that the network is the velocity of",
          .keys = {"student.cnf-steps", "student.cnf-trace"},
          .make = [](std::shared_ptr<const Path> path,
                     const ObjectiveOptions& options) -> std::shared_ptr<const Objective> {
            require_straight(*path, options.section);
            return std::make_shared<LikelihoodObjective>(std::move(path), options);
          }};
}

}  // namespace couplet
