#include "method/objectives/one_step.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <utility>

namespace couplet {
namespace {

class OneStep : public Objective {
public:
  OneStep(std::shared_ptr<const Path> straight, OneStepOptions one_step, const ObjectiveOptions& options)
      : Objective(std::move(straight), options), one_step_(std::move(one_step)) {}

  FieldInput input(const at::Tensor& x_t, const at::Tensor& t) const override { return {x_t, at::ones_like(t)}; }
  at::Tensor target(const at::Tensor& x, const at::Tensor&, const at::Tensor&) const override { return x; }
  /// One step of length t ends in the output.
  at::Tensor velocity(const at::Tensor& output, const at::Tensor& x_t, const at::Tensor& t) const override {
    return (x_t - output) / per_row(t, x_t);
  }
  bool has_score() const override { return false; }
  bool is_one_step() const override { return true; }
  double first_time() const override { return 1; }
  double draw_time(Draws&) const override { return 1; }

  at::Tensor errors(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                    const Condition& condition) const override {
    return distances(output(field, x, z, t, condition), x);
  }
  at::Tensor loss(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                  const Condition& condition) const override {
    return distances(training_output(field, x, z, t, condition), x).mean();
  }

private:
  /// [N]: of values, and of features.
  at::Tensor distances(const at::Tensor& made, const at::Tensor& x) const {
    const at::Tensor rows = of_values(made, x).flatten(1).mean(1);
    if (one_step_.feature_weight == 0) return rows;
    if (!one_step_.feature_distance) fail("student.feature-weight: the network that compares features was not opened");
    return rows + one_step_.feature_weight * one_step_.feature_distance(made, x);
  }

  /// Errors e as e² or, with δ, 2δ|e| - δ² from |e| = δ on: twice Huber's function, so that small errors count alike.
  at::Tensor of_values(const at::Tensor& made, const at::Tensor& x) const {
    if (one_step_.huber_delta == 0) return at::mse_loss(made, x, at::Reduction::None);
    return 2 * at::huber_loss(made, x, at::Reduction::None, one_step_.huber_delta);
  }

  OneStepOptions one_step_;
};

}  // namespace

std::shared_ptr<const Objective> make_one_step(std::shared_ptr<const Path> straight, const OneStepOptions& one_step,
                                               const ObjectiveOptions& options) {
  return std::make_shared<OneStep>(std::move(straight), one_step, options);
}

const std::vector<StudentKind>& student_kinds() {
  static const std::vector<StudentKind> kinds{
      {.name = "flow",
       .help = "a velocity field, from noise to image in as many steps as one likes",
       .keys = {"student.objective", "student.times", "student.time-law", "student.time-mean", "student.time-std"}},
      {.name = "image",
       .help = "one step: the network is given the noise and puts out the image",
       .keys = {"student.image-loss", "student.huber-delta", "student.feature-weight", "student.feature-network",
                "student.feature-range", "student.align-weight"}}};
  return kinds;
}

}  // namespace couplet
