#include "pipeline/loader/held_out.h"

#include "pipeline/distributed/slices.h"
#include "pipeline/loader/table_rows.h"

#include <torch/torch.h>

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t slice_rows = 125;

}  // namespace

HeldOut::HeldOut(const RowTable& table, std::vector<std::string> columns, std::int64_t rows)
    : table_(table), columns_(std::move(columns)), rows_(rows == 0 ? table.rows() : std::min(rows, table.rows())) {}

HeldOut::Rows HeldOut::slice(std::int64_t first) const {
  Rows rows;
  for (std::int64_t i = first; i < std::min(first + slice_rows, rows_); ++i)
    rows.numbers.push_back(i * table_.rows() / rows_);
  const std::int64_t begin = rows.numbers.front(), count = rows.numbers.back() + 1 - begin;
  const at::Tensor chosen = torch::tensor(rows.numbers, torch::kInt64) - begin;
  for (const std::string& column : columns_)
    rows.columns.push_back(read_rows(table_, column, begin, count).index_select(0, chosen));
  return rows;
}

std::vector<double> HeldOut::mean(std::int64_t figures, Communicator& communicator,
                                  const std::function<at::Tensor(const Rows& rows)>& measure) const {
  const torch::NoGradGuard no_grad;
  at::Tensor sum = torch::zeros({figures}, torch::kFloat64);
  for_each_slice(
      communicator, {.rows = rows_, .slice_rows = slice_rows, .columns = figures, .stopped = ""},
      [&](std::int64_t first) { return measure(slice(first)).cpu(); },
      [&](const at::Tensor& values) { sum += values.sum(0); });
  sum /= static_cast<double>(rows_);
  return {sum.data_ptr<double>(), sum.data_ptr<double>() + figures};
}

}  // namespace couplet
