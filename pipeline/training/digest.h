// One number for what a step's batch held: two runs that show the model the same rows have the same digests.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// The sum of the rows' hashes modulo 2^64. A row's XXH3 is seeded with its position in the training run (`first` for
/// row 0) and goes through its bytes in every tensor, in the order of the tensors. The sum over the ranks is the digest
/// of the global batch, for any number of ranks. `batch` are CPU tensors with the rows on axis 0.
std::uint64_t batch_digest(const std::vector<at::Tensor>& batch, std::int64_t first);
/// The digest as 16 hexadecimal digits.
std::string digest_text(std::uint64_t digest);

}  // namespace couplet
