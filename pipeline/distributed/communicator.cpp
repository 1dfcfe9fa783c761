#include "pipeline/distributed/communicator.h"

#include "storage/error.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cstring>

namespace couplet {
namespace {

at::Tensor one_number(std::int64_t value) {
  return at::full({1}, value, at::kLong);
}

at::Tensor bytes_tensor(const std::string& text, std::int64_t length) {
  at::Tensor bytes = at::zeros({length}, at::kByte);
  if (!text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string tensor_text(const at::Tensor& bytes, std::int64_t length) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(length)};
}

}  // namespace

std::int64_t Communicator::maximum(std::int64_t value) {
  return all_gather(one_number(value)).max().item<std::int64_t>();
}

std::string Communicator::broadcast_text(const std::string& text, int root) {
  at::Tensor length = one_number(static_cast<std::int64_t>(text.size()));
  broadcast(length, root);
  const auto count = length.item<std::int64_t>();
  at::Tensor bytes = rank() == root ? bytes_tensor(text, count) : at::empty({count}, at::kByte);
  broadcast(bytes, root);
  return tensor_text(bytes, count);
}

std::vector<std::string> Communicator::gather_text(const std::string& text) {
  const at::Tensor lengths = all_gather(one_number(static_cast<std::int64_t>(text.size())));
  const at::Tensor bytes = all_gather(bytes_tensor(text, lengths.max().item<std::int64_t>()));
  std::vector<std::string> texts;
  for (int from = 0; from < size(); ++from) {
    texts.push_back(tensor_text(bytes.select(0, from), lengths.select(0, from).item<std::int64_t>()));
  }
  return texts;
}

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
