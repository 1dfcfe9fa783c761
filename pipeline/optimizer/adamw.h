// AdamW (Loshchilov & Hutter 2019) with LibTorch's fused kernel.
#pragma once

#include "pipeline/optimizer/flat_parameters.h"

#include <cstdint>
#include <vector>

namespace couplet {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< of parameters of two or more dimensions; biases, gains and other vectors do not decay
};

/// Updates a share of every bucket of parameters from its gradients, and holds the state of that share only.
class AdamW {
public:
  AdamW(const FlatParameters& parameters, const AdamWOptions& options, const Share& share = {});
  /// Makes update number `number` (from 0), after dividing every gradient by `gradient_divisor` in the same pass over
  /// memory.
  void update(std::int64_t number, double learning_rate, double gradient_divisor);

  const Share& share() const { return share_; }
  /// This share of each bucket's moving averages of the gradient and of its square, which files call
  /// "<parameter>.exp_avg" and "<parameter>.exp_avg_sq". The tensors share memory with the optimizer.
  const std::vector<at::Tensor>& averages() const { return averages_; }
  const std::vector<at::Tensor>& square_averages() const { return square_averages_; }

private:
  struct Group {
    double weight_decay = 0;
    std::vector<at::Tensor> parameters, gradients, averages, square_averages;
  };
  void update(Group& group, double learning_rate);

  AdamWOptions options_;
  Share share_;
  std::vector<at::Tensor> averages_, square_averages_;
  Group decaying_, others_;
  at::Tensor step_, divisor_;  ///< one number each, float32, on the parameters' device
};

}  // namespace couplet
