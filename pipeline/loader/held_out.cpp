#include "pipeline/loader/held_out.h"

#include "pipeline/distributed/slices.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/fitting_rows.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace couplet {
HeldOutRows::HeldOutRows(std::int64_t there, std::int64_t rows)
    : there_(there), rows_(rows == 0 ? there : std::min(rows, there)) {}

std::vector<double> HeldOutRows::mean(
    std::int64_t figures, Communicator& communicator,
    const std::function<at::Tensor(const std::vector<std::int64_t>& numbers)>& measure) const {
  const at::NoGradGuard no_grad;
  at::Tensor sum = at::zeros({figures}, at::kDouble);
  for_each_slice(
      communicator, {.rows = rows_, .slice_rows = held_out_slice_rows, .columns = figures, .stopped = ""},
      [&](std::int64_t first) {
        std::vector<std::int64_t> numbers;
        for (std::int64_t i = first; i < std::min(first + held_out_slice_rows, rows_); ++i)
          numbers.push_back(i * there_ / rows_);
        return fitting_rows(std::ssize(numbers), [&](std::int64_t from, std::int64_t count) {
          const auto begin = numbers.begin() + from;
          return measure({begin, begin + count}).cpu();
        });
      },
      [&](const at::Tensor& values) { sum += values.sum(0); });
  sum /= static_cast<double>(rows_);
  return {sum.data_ptr<double>(), sum.data_ptr<double>() + figures};
}

HeldOut::HeldOut(const RowTable& table, std::vector<std::string> columns, std::int64_t rows)
    : table_(table), columns_(std::move(columns)), rows_(table.rows(), rows) {}

std::vector<double> HeldOut::mean(std::int64_t figures, Communicator& communicator,
                                  const std::function<at::Tensor(const Rows& rows)>& measure) const {
  return rows_.mean(figures, communicator, [&](const std::vector<std::int64_t>& numbers) {
    Rows rows{numbers, {}};
    for (const std::string& column : columns_) rows.columns.push_back(read_numbered_rows(table_, column, numbers));
    return measure(rows);
  });
}

}  // namespace couplet
