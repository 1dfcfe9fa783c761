// The exponential moving average of a model's parameters.
#pragma once

#include "pipeline/weights.h"

#include <cstdint>
#include <vector>

namespace couplet {

/// Starts as a copy of the parameters. Kept apart from the raw weights, which training goes on with.
class Ema {
public:
  Ema(const NamedTensors& parameters, double rate);
  /// After the optimizer's update number `step` (from 0): average += (1 - r) · (parameter - average), with the usual
  /// warm-up r = min(rate, (1 + step) / (10 + step)), so that the random first weights are soon forgotten.
  void update(std::int64_t step);
  /// By parameter name. The tensors share memory with the average.
  const NamedTensors& tensors() const { return averages_; }

  static double rate_at(double rate, std::int64_t step);

private:
  double rate_;
  NamedTensors averages_;
  std::vector<at::Tensor> from_, to_;
};

}  // namespace couplet
