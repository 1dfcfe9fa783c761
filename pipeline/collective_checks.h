// What every back end of the communicator asks of its arguments, checked on each rank alone, before any message.
#pragma once

#include <ATen/core/Tensor.h>

namespace couplet {

/// Refuses a tensor that all_reduce cannot sum in place: undefined, not contiguous, another element type.
void check_reducible(const at::Tensor& tensor, bool bfloat16, int rank);
/// Refuses an undefined or sparse tensor.
void check_dense(const at::Tensor& tensor, const char* operation, int rank);
void check_root(int root, int size, const char* operation, int rank);

}  // namespace couplet
