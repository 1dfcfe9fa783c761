// Rows that a model in training is measured on and not trained on.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace couplet {

/// Some of a number of rows, at even distances.
class HeldOutRows {
public:
  /// `rows` of `there`; all where `rows` is 0 or more than there are.
  HeldOutRows(std::int64_t there, std::int64_t rows);

  std::int64_t rows() const { return rows_; }
  /// The means over the rows of the figures that `measure` gives the rows of these numbers, ascending: [n, figures], of
  /// any floating type. Slices of a fixed size are dealt out to the ranks, figures added in the order of the rows: the
  /// same digits on any number of ranks. Collective.
  std::vector<double> mean(std::int64_t figures, Communicator& communicator,
                           const std::function<at::Tensor(const std::vector<std::int64_t>& numbers)>& measure) const;

private:
  std::int64_t there_, rows_;
};

/// The same of a table, whose columns are read for the one who measures.
class HeldOut {
public:
  struct Rows {
    std::vector<std::int64_t> numbers;  ///< in the table, ascending
    std::vector<at::Tensor> columns;    ///< [n, shape...] each, in the order asked for
  };

  HeldOut(const RowTable& table, std::vector<std::string> columns, std::int64_t rows);

  /// As above.
  std::vector<double> mean(std::int64_t figures, Communicator& communicator,
                           const std::function<at::Tensor(const Rows& rows)>& measure) const;

private:
  const RowTable& table_;
  std::vector<std::string> columns_;
  HeldOutRows rows_;
};

}  // namespace couplet
