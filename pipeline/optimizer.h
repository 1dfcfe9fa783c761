// AdamW (Loshchilov & Hutter 2019) with LibTorch's fused kernel.
#pragma once

#include "pipeline/weights.h"

#include <cstdint>
#include <vector>

namespace couplet {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< on parameters of two or more dimensions; biases, gains and other vectors do not decay
};

/// Updates parameters from their .grad, which is there from construction on (FlatGradients) and stays in its place.
class AdamW {
public:
  AdamW(const NamedTensors& parameters, const AdamWOptions& options);
  /// Update number `step` (from 0), after dividing every gradient by `gradient_divisor` (in the same pass over memory).
  void update(std::int64_t step, double learning_rate, double gradient_divisor);
  /// "<parameter>.exp_avg" and "<parameter>.exp_avg_sq". The tensors share memory with the optimizer.
  const NamedTensors& state() const { return state_; }

private:
  struct Group {
    double weight_decay = 0;
    std::vector<at::Tensor> parameters, gradients, averages, square_averages;
  };
  void update(Group& group, double learning_rate);

  AdamWOptions options_;
  Group decaying_, others_;
  NamedTensors state_;
  at::Tensor step_, divisor_;  ///< one number each, float32, on the parameters' device
};

}  // namespace couplet
