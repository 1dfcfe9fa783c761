#include "pipeline/training/digest.h"

#include "storage/files/hash.h"

#include <fmt/format.h>

#include <span>

namespace couplet {

std::uint64_t batch_digest(const std::vector<at::Tensor>& batch, std::int64_t first) {
  if (batch.empty()) return 0;
  const auto rows = static_cast<std::size_t>(batch.front().size(0));
  std::vector<std::uint64_t> hashes(rows);
  for (std::size_t row = 0; row < rows; ++row) hashes[row] = static_cast<std::uint64_t>(first) + row;
  for (const auto& tensor : batch) {
    const at::Tensor values = tensor.contiguous();
    const std::size_t row_bytes = values.nbytes() / (rows > 0 ? rows : 1);
    const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
    for (std::size_t row = 0; row < rows; ++row) {
      hashes[row] = hash64(std::span(bytes + row * row_bytes, row_bytes), hashes[row]);
    }
  }
  std::uint64_t sum = 0;
  for (const auto hash : hashes) sum += hash;
  return sum;
}

std::string digest_text(std::uint64_t digest) {
  return fmt::format("{:016x}", digest);
}

}  // namespace couplet
