// Minibatch optimal transport: which noise each image of a batch is paired with.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stop_token>
#include <vector>

namespace couplet {

/// ‖x_i - z_j‖² of rows [n, ...] and [m, ...], float32 on the CPU: float32 [n, m]. Computed on one thread, so that the
/// bits do not depend on how many there are.
at::Tensor squared_distances(const at::Tensor& x, const at::Tensor& z);

/// The rows of each pool, ascending; of `rows` rows whose pools are int64 [rows], or undefined: all are of one.
std::vector<std::vector<std::int64_t>> rows_of_pools(const at::Tensor& pools, std::int64_t rows);

/// The permutation π, int32 [n], for which Σ_i ‖x_i - z_π(i)‖² is least, of images and noises float32 [n, ...] on the
/// CPU (arXiv 2302.00482, section 3.4; arXiv 2304.14772). `pools`, int64 [n]: a row takes only noise of a row with its
/// own number, so that within each number noise keeps its law; undefined: all rows are one pool. Each pool is a problem
/// of its own. A pool in which a distance is not finite is an error that names an image or a noise. On one thread; of a
/// pool of p rows it takes p² · 4 bytes, and a time that grows as p³ at most. A request to stop ends it soon, by an
/// error.
at::Tensor transport_permutation(const at::Tensor& images, const at::Tensor& noise, const at::Tensor& pools,
                                 const std::stop_token& stop = {});

}  // namespace couplet
