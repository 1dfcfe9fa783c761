// What every back end of the communicator asks of its arguments, checked on each rank alone, before any message.
#pragma once

#include <ATen/core/Tensor.h>

namespace couplet {

/// Refuses a tensor that cannot be summed in place: undefined, not contiguous, another element type.
void check_reducible(const at::Tensor& tensor, bool bfloat16, const char* operation, int rank);
/// Refuses a tensor that has no `size` parts of equal length, or whose parts are not contiguous.
void check_parts(const at::Tensor& tensor, int size, const char* operation, int rank);
/// Refuses an undefined or sparse tensor.
void check_dense(const at::Tensor& tensor, const char* operation, int rank);
void check_root(int root, int size, const char* operation, int rank);

}  // namespace couplet
