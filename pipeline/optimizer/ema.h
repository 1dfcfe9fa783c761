// The exponential moving average of a model's parameters.
#pragma once

#include "pipeline/optimizer/flat_parameters.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Starts as a copy of the parameters. Kept apart from the raw weights, which training goes on with.
class Ema {
public:
  Ema(const FlatParameters& parameters, double rate);
  /// After the optimizer's update number `number` (from 0): average += (1 - r) · (parameter - average), with the usual
  /// warm-up r = min(rate, (1 + number) / (10 + number)), so that the random first weights are soon forgotten.
  void update(std::int64_t number);
  double rate() const { return rate_; }
  /// One for each bucket, laid out as it is. The tensors share memory with the average.
  const std::vector<at::Tensor>& averages() const { return averages_; }

  static double rate_at(double rate, std::int64_t number);

private:
  double rate_;
  std::vector<at::Tensor> parameters_, averages_;
};

/// Where the average number `index` of a training section's list of rates is kept: "ema.safetensors" for the first,
/// "ema-0.9999.safetensors" for a further one.
std::string ema_file(std::size_t index, double rate);

}  // namespace couplet
