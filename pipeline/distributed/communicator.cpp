#include "pipeline/distributed/communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <cstring>

namespace couplet {
namespace {

at::Tensor one_number(std::int64_t value) {
  return at::full({1}, value, at::kLong);
}

at::Tensor bytes_of(const std::string& text, std::int64_t length) {
  at::Tensor bytes = at::zeros({length}, at::kByte);
  if (!text.empty()) std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const at::Tensor& bytes, std::int64_t length) {
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
  at::Tensor bytes = rank() == root ? bytes_of(text, count) : at::empty({count}, at::kByte);
  broadcast(bytes, root);
  return text_of(bytes, count);
}

std::vector<std::string> Communicator::gather_text(const std::string& text) {
  const at::Tensor lengths = all_gather(one_number(static_cast<std::int64_t>(text.size())));
  const at::Tensor bytes = all_gather(bytes_of(text, lengths.max().item<std::int64_t>()));
  std::vector<std::string> texts;
  for (int from = 0; from < size(); ++from) {
    texts.push_back(text_of(bytes.select(0, from), lengths.select(0, from).item<std::int64_t>()));
  }
  return texts;
}

}  // namespace couplet
