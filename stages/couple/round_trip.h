// How exactly stored noise leads back to the image it came from.
#pragma once

#include "method/models/tarflow.h"

#include <c10/core/Device.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace couplet {

/// ‖f⁻¹(z as stored) - x‖ of every k-th row of a shard, x the noised image that f saw: Euclidean norm, in units of
/// images on [-1, 1]. The inverse runs in float32. (method of NFM: what rounding to the stored type and the precision
/// of the inversion cost.)
class RoundTrip {
public:
  /// A shard of `rows` rows, `share` of them measured (0: none; at least one otherwise), `batch` at once.
  RoundTrip(TarFlow teacher, c10::Device device, std::int64_t rows, double share, std::int64_t batch);

  /// Rows [first, first + count) of the shard: stored noise and noised images [N, C, H, W], labels [N], N ≥ count.
  void add(std::int64_t first, std::int64_t count, const at::Tensor& stored, const at::Tensor& x,
           const at::Tensor& label);
  /// The column: float32 [rows], not_measured where a row was not; the largest float where the image that came back is
  /// not finite.
  at::Tensor finish();
  /// round_trip_rows (measured), round_trip_sum and round_trip_max of the norms. After finish.
  nlohmann::json summary() const;

private:
  void measure();

  TarFlow teacher_;
  c10::Device device_;
  std::int64_t stride_ = 0;  ///< 0: none
  std::int64_t batch_;
  std::vector<std::int64_t> rows_;              ///< waiting to be measured
  std::vector<at::Tensor> stored_, x_, label_;  ///< of these, one row each
  at::Tensor column_;
};

}  // namespace couplet
