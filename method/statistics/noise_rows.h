// The noise of some rows of a coupling table, by which its distance from N(0, I) is measured.
#pragma once

#include "method/statistics/normality.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

struct NoiseRows {
  at::Tensor z;      ///< float64 [n, d], of unit variance
  at::Tensor label;  ///< int64 [n]
  at::Tensor nll;    ///< float64 [n], of the image under the table's model, nats a value; undefined: the table has none
};

/// Some rows of a table, spread over all of them.
class NoiseSample {
public:
  /// At most `most` rows; 0: all. Noise is divided by `sigma_f`.
  NoiseSample(const RowTable& table, double sigma_f, std::int64_t most);

  std::int64_t rows() const { return chosen_.size(); }
  std::int64_t values() const { return values_; }  ///< of a row's noise: d
  bool has_nll() const { return has_nll_; }
  /// Rows [first, first + count) of these, beyond the last one that again.
  NoiseRows read(std::int64_t first, std::int64_t count) const;
  /// Those of ascending numbers among these.
  NoiseRows read(const std::vector<std::int64_t>& numbers) const;
  /// The numbers among these of the rows of each class.
  std::vector<std::vector<std::int64_t>> by_class(std::int64_t classes) const;

private:
  std::vector<std::int64_t> in_table(const std::vector<std::int64_t>& numbers) const;

  const RowTable& table_;
  double sigma_f_;
  RowSample chosen_;
  std::int64_t values_;
  bool has_nll_;
};

}  // namespace couplet
