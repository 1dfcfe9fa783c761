// The exponential moving average of a model's parameters, and the model with it in place of the raw weights for a
// while.
#pragma once

#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/tensor/weights.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

/// Starts as a copy of the parameters. It is kept apart from the raw weights, with which training goes on.
class Ema {
public:
  Ema(const FlatParameters& parameters, double rate);
  /// Follows the optimizer's update number `number` (from 0): average += (1 - r) · (parameter - average), with the
  /// usual warm-up r = min(rate, (1 + number) / (10 + number)), so that the random first weights are soon forgotten.
  void update(std::int64_t number);
  double rate() const { return rate_; }
  /// One tensor for each bucket, laid out as the bucket is. It shares memory with the average.
  const std::vector<at::Tensor>& averages() const { return averages_; }

  static double rate_at(double rate, std::int64_t number);

private:
  double rate_;
  std::vector<at::Tensor> parameters_, averages_;
};

/// While it lives, the model computes with the averages, whose tensors hold its raw weights meanwhile: the values are
/// swapped, so that both stay where they are in memory. The destructor swaps them back, bit for bit.
class WithEma {
public:
  /// `averages` are named after parameters, of whose shapes and types they are. Parameters without an average stay.
  WithEma(const torch::nn::Module& model, const NamedTensors& averages);
  ~WithEma();
  WithEma(const WithEma&) = delete;
  WithEma& operator=(const WithEma&) = delete;

private:
  void swap_values();

  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;  ///< parameter and average
};

/// The file of the average number `index` of a training section's list of rates: "ema.safetensors" for the first,
/// "ema-0.9999.safetensors" for a further one.
std::string ema_file(std::size_t index, double rate);

}  // namespace couplet
