// The regression's training by formula, in double precision, from the whole batch.
#pragma once

#include "pipeline/optimizer/schedule.h"
#include "pipeline/training/task.h"
#include "tests/pipeline/training/regression_task.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <vector>

namespace couplet {

struct RegressionReference {
  struct Value {
    at::Tensor value, average, square;
    std::vector<at::Tensor> emas;  ///< one for each rate
  };
  std::vector<double> losses, norms;
  Value weight, bias;

  /// Steps in `skipped` change nothing.
  RegressionReference(const TrainingConfig& config, std::int64_t steps, const std::set<std::int64_t>& skipped = {}) {
    const Regression model(1);
    for (auto [to, from] : {std::pair{&weight, model.weight}, std::pair{&bias, model.bias}}) {
      to->value = from.detach().to(at::kDouble);
      to->average = at::zeros_like(to->value);
      to->square = at::zeros_like(to->value);
      for (std::size_t i = 0; i < config.ema.size(); ++i) to->emas.push_back(to->value.clone());
    }
    for (std::int64_t step = 0; step < steps; ++step) {
      if (!skipped.contains(step)) update(config, step);
    }
  }

private:
  void update(const TrainingConfig& config, std::int64_t step) {
    const Batch rows = regression_rows(step * config.batch, config.batch);
    const at::Tensor x = rows[0].to(at::kDouble), error = at::linear(x, weight.value, bias.value) - rows[1];
    losses.push_back(error.square().mean().item<double>());
    const at::Tensor output_gradient = error * (2.0 / static_cast<double>(error.numel()));
    at::Tensor weight_gradient = output_gradient.t().mm(x), bias_gradient = output_gradient.sum(0);
    norms.push_back(std::sqrt((weight_gradient.square().sum() + bias_gradient.square().sum()).item<double>()));
    const double clip = std::min(1.0, config.clip / norms.back());
    adamw(weight, weight_gradient * clip, config, step, config.weight_decay);
    adamw(bias, bias_gradient * clip, config, step, 0);
  }

  /// The bias corrections count the updates made.
  void adamw(Value& of, const at::Tensor& gradient, const TrainingConfig& config, std::int64_t step, double decay) {
    const double rate = learning_rate(config, step), number = static_cast<double>(norms.size());
    of.average = 0.9 * of.average + 0.1 * gradient;
    of.square = 0.95 * of.square + 0.05 * gradient.square();
    const at::Tensor mean = of.average / (1 - std::pow(0.9, number)), square = of.square / (1 - std::pow(0.95, number));
    of.value = of.value * (1 - rate * decay) - rate * mean / (square.sqrt() + 1e-8);
    for (std::size_t i = 0; i < config.ema.size(); ++i) {
      const double keep = std::min(config.ema[i], number / (number + 9));
      of.emas[i] = keep * of.emas[i] + (1 - keep) * of.value;
    }
  }
};

}  // namespace couplet
