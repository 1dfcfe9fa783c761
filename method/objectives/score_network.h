// What objectives share whose network is the score ∇ log p_t(x_t) = -E[z | x_t] / σ.
#pragma once

#include "method/objectives/objective.h"
#include "method/objectives/safe_times.h"

#include <memory>
#include <utility>

namespace couplet {

class ScoreNetwork : public Objective {
public:
  ScoreNetwork(std::shared_ptr<const Path> along, const ObjectiveOptions& options)
      : Objective(std::move(along), options), first_(first_time_of_score(path())), last_(last_time_of_noise(path())) {}

  at::Tensor target(const at::Tensor&, const at::Tensor& z, const at::Tensor& t) const override {
    return -z / per_row(path().sigma(t), z);
  }
  at::Tensor velocity(const at::Tensor& output, const at::Tensor& x_t, const at::Tensor& t) const override {
    return path().velocity_of_noise(-per_row(path().sigma(t), x_t) * output, x_t, t);
  }
  double first_time() const override { return first_; }
  double last_time() const override { return last_; }

private:
  double first_, last_;
};

}  // namespace couplet
