// A field that is a linear map of the state and a shift for each label.
#pragma once

#include "method/models/field.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <map>
#include <string>

namespace couplet::testing {

/// f(x, t, c) = W x + b_c, of images of `values` values; starts at 0. The last label is none.
class LinearField : public Field {
public:
  LinearField(std::int64_t values, std::int64_t labels)
      : matrix(register_parameter("matrix", at::zeros({values, values}))),
        shifts(register_parameter("shifts", at::zeros({labels + 1, values}))) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor&, const Condition& condition) override {
    return (x.flatten(1).mm(matrix.t()) + shifts.index_select(0, condition.labels)).view(x.sizes());
  }
  std::int64_t no_label() const override { return shifts.size(0) - 1; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }

  /// Steps of plain descent down a loss.
  template <class Loss>
  void descend(int steps, double rate, const Loss& loss) {
    for (int step = 0; step < steps; ++step) {
      zero_grad();
      loss().backward();
      const at::NoGradGuard no_grad;
      for (at::Tensor& parameter : parameters()) parameter.sub_(parameter.grad(), rate);
    }
  }

  at::Tensor matrix, shifts;
};

}  // namespace couplet::testing
