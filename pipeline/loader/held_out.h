// The rows on which a model in training is measured, and not trained.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// Rows of the slices that the ranks take of them.
inline constexpr std::int64_t held_out_slice_rows = 125;

/// A choice of rows at even distances.
class HeldOutRows {
public:
  /// Chooses `rows` of `there` rows; all of them where `rows` is 0 or more than there are.
  HeldOutRows(std::int64_t there, std::int64_t rows);

  std::int64_t rows() const { return rows_; }
  /// Returns the means, over the chosen rows, of the figures that `measure` gives for rows whose numbers ascend:
  /// [n, figures], of any floating type. The ranks take slices of a fixed size, and the figures are added in the order
  /// of the rows: the digits are the same on any number of ranks. Collective.
  std::vector<double> mean(std::int64_t figures, Communicator& communicator,
                           const std::function<at::Tensor(const std::vector<std::int64_t>& numbers)>& measure) const;

private:
  std::int64_t there_, rows_;
};

/// The same for a table, whose columns are read for `measure`.
class HeldOut {
public:
  struct Rows {
    std::vector<std::int64_t> numbers;  ///< in the table, ascending
    std::vector<at::Tensor> columns;    ///< [n, shape...] each, in the order asked for
  };

  HeldOut(const RowTable& table, std::vector<std::string> columns, std::int64_t rows);

  /// As HeldOutRows::mean.
  std::vector<double> mean(std::int64_t figures, Communicator& communicator,
                           const std::function<at::Tensor(const Rows& rows)>& measure) const;

private:
  const RowTable& table_;
  std::vector<std::string> columns_;
  HeldOutRows rows_;
};

}  // namespace couplet
