// The field whose paths lead from noise to data.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace couplet {

/// dx/dt at (x, t): a tensor of x's shape (converted to x's type where a network answers in another). x is [rows, ...];
/// t is the same for all rows.
using VelocityField = std::function<at::Tensor(const at::Tensor& x, double t)>;

}  // namespace couplet
