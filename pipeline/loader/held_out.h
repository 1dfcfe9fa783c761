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

class HeldOut {
public:
  struct Rows {
    std::vector<std::int64_t> numbers;  ///< in the table, ascending
    std::vector<at::Tensor> columns;    ///< [n, shape...] each, in the order asked for
  };

  /// `rows` of the table's rows at even distances; all where `rows` is 0 or more than there are.
  HeldOut(const RowTable& table, std::vector<std::string> columns, std::int64_t rows);

  std::int64_t rows() const { return rows_; }
  /// The means over the rows of the figures that `measure` gives each: [n, figures], of any floating type. Slices of a
  /// fixed size are dealt out to the ranks, figures added in the order of the rows: the same digits on any number of
  /// ranks. Collective.
  std::vector<double> mean(std::int64_t figures, Communicator& communicator,
                           const std::function<at::Tensor(const Rows& rows)>& measure) const;

private:
  Rows slice(std::int64_t first) const;

  const RowTable& table_;
  std::vector<std::string> columns_;
  std::int64_t rows_;
};

}  // namespace couplet
