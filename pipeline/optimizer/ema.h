// The exponential moving average of a model's parameters, and the model with it in place of the raw weights for a
// while.
#pragma once

#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/tensor/weights.h"

#include <torch/nn/module.h>

#include <cstdint>
#include <string>
#include <utility>
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

/// While it lives, the model computes with the averages, whose tensors hold its raw weights meanwhile: values are
/// swapped, so both stay where they are in memory. Afterwards each is back, bit for bit.
class WithEma {
public:
  /// `averages` by parameter name, of the parameters' shapes and types; parameters that are not among them stay.
  WithEma(const torch::nn::Module& model, const NamedTensors& averages);
  ~WithEma();
  WithEma(const WithEma&) = delete;
  WithEma& operator=(const WithEma&) = delete;

private:
  void swap_values();

  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;  ///< parameter and average
};

/// Where the average number `index` of a training section's list of rates is kept: "ema.safetensors" for the first,
/// "ema-0.9999.safetensors" for a further one.
std::string ema_file(std::size_t index, double rate);

}  // namespace couplet
