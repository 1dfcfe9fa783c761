// A model with the moving average of its weights in place of the raw ones, for a while.
#pragma once

#include "pipeline/tensor/weights.h"

#include <torch/nn/module.h>

#include <utility>
#include <vector>

namespace couplet {

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

}  // namespace couplet
