#include "pipeline/collective_checks.h"

#include "storage/error.h"

namespace couplet {

void check_dense(const at::Tensor& tensor, const char* operation, int rank) {
  if (!tensor.defined()) fail("{} on rank {}: the tensor is undefined", operation, rank);
  if (tensor.layout() != at::kStrided) fail("{} on rank {}: the tensor is not dense", operation, rank);
}

void check_reducible(const at::Tensor& tensor, bool bfloat16, int rank) {
  check_dense(tensor, "all_reduce", rank);
  const at::ScalarType type = tensor.scalar_type();
  const bool possible =
      type == at::kFloat || type == at::kDouble || type == at::kLong || (bfloat16 && type == at::kBFloat16);
  if (!possible) {
    fail("all_reduce on rank {}: element type {} cannot be summed here; possible are Float, Double, Long{}", rank,
         c10::toString(type), bfloat16 ? ", BFloat16" : "");
  }
  if (!tensor.is_contiguous()) fail("all_reduce on rank {}: the tensor is not contiguous", rank);
}

void check_root(int root, int size, const char* operation, int rank) {
  if (root < 0 || root >= size) fail("{} on rank {}: there is no rank {} among {} ranks", operation, rank, root, size);
}

}  // namespace couplet
