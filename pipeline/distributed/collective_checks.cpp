#include "pipeline/distributed/collective_checks.h"

#include "storage/error.h"

namespace couplet {

void check_dense(const at::Tensor& tensor, const char* operation, int rank) {
  if (!tensor.defined()) fail("{} on rank {}: the tensor is undefined", operation, rank);
  if (tensor.layout() != at::kStrided) fail("{} on rank {}: the tensor is not dense", operation, rank);
}

void check_reducible(const at::Tensor& tensor, bool bfloat16, const char* operation, int rank) {
  check_dense(tensor, operation, rank);
  const at::ScalarType type = tensor.scalar_type();
  const bool possible =
      type == at::kFloat || type == at::kDouble || type == at::kLong || (bfloat16 && type == at::kBFloat16);
  if (!possible) {
    fail("{} on rank {}: element type {} cannot be summed here; possible are Float, Double, Long{}", operation, rank,
         c10::toString(type), bfloat16 ? ", BFloat16" : "");
  }
  if (!tensor.is_contiguous()) fail("{} on rank {}: the tensor is not contiguous", operation, rank);
}

void check_parts(const at::Tensor& tensor, int size, const char* operation, int rank) {
  check_dense(tensor, operation, rank);
  if (!tensor.is_contiguous()) fail("{} on rank {}: the tensor is not contiguous", operation, rank);
  if (tensor.numel() % size != 0) {
    fail("{} on rank {}: {} elements cannot be cut into {} parts of equal length; pad them to {}", operation, rank,
         tensor.numel(), size, (tensor.numel() / size + 1) * size);
  }
}

void check_root(int root, int size, const char* operation, int rank) {
  if (root < 0 || root >= size) fail("{} on rank {}: there is no rank {} among {} ranks", operation, rank, root, size);
}

}  // namespace couplet
