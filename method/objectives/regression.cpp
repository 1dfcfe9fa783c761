// No flow but a function of the condition: ‖f(0, 1) - x‖², so that the network gives the mean image of its condition.
#include "method/objectives/objective.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>

namespace couplet {
namespace {

/// The straight path without its noise, (1 - t) x: what is left where noise has no part in samples. Its flow, from 0,
/// is a straight line at one speed, which every solver follows exactly.
class NoiselessPath : public Path {
public:
  at::Tensor alpha(const at::Tensor& t) const override { return 1 - t; }
  at::Tensor sigma(const at::Tensor& t) const override { return at::zeros_like(t); }
  at::Tensor alpha_slope(const at::Tensor& t) const override { return at::full_like(t, -1); }
  at::Tensor sigma_slope(const at::Tensor& t) const override { return at::zeros_like(t); }
  double prior_scale() const override { return 0; }
};

class RegressionObjective : public Objective {
public:
  explicit RegressionObjective(const ObjectiveOptions& options)
      : Objective(std::make_shared<NoiselessPath>(), options) {}

  FieldInput input(const at::Tensor& x_t, const at::Tensor& t) const override {
    return {at::zeros_like(x_t), at::ones_like(t)};
  }
  at::Tensor target(const at::Tensor& x, const at::Tensor&, const at::Tensor&) const override { return x; }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor&, const at::Tensor&) const override { return -output; }
  bool has_score() const override { return false; }
  bool is_one_step() const override { return true; }
};

std::shared_ptr<const Objective> make_regression(std::shared_ptr<const Path> path, const ObjectiveOptions& options) {
  if (!is_straight(*path))
    refuse(
        "{0}.objective = regression: an image is learnt from its condition alone, and nothing of a path; set {0}.path "
        "= "
        "linear with {0}.sigma-min = 0",
        options.section);
  return std::make_shared<RegressionObjective>(options);
}

}  // namespace

ObjectiveKind regression_objective() {
  return {.name = "regression",
          .help = "no noise: the network gives the image that its condition leads to, the mean of those there are",
          .make = make_regression};
}

}  // namespace couplet
