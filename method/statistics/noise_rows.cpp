#include "method/statistics/noise_rows.h"

#include "pipeline/loader/table_rows.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

namespace couplet {
namespace {

std::vector<std::int64_t> numbers_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

std::int64_t noise_values(const Column& column) {
  return std::accumulate(column.shape.begin(), column.shape.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

NoiseSample::NoiseSample(const RowTable& table, double sigma_f, std::int64_t most)
    : table_(table),
      sigma_f_(sigma_f),
      chosen_(table.rows(), most > 0 ? most : table.rows()),
      values_(noise_values(table.columns().at(table.column("noise")))),
      has_nll_(std::ranges::find(table.columns(), "nll", &Column::name) != table.columns().end()) {}

std::vector<std::int64_t> NoiseSample::in_table(const std::vector<std::int64_t>& numbers) const {
  std::vector<std::int64_t> rows;
  for (const std::int64_t number : numbers) rows.push_back(chosen_.at(std::min(number, chosen_.size() - 1)));
  return rows;
}

NoiseRows NoiseSample::read(std::int64_t first, std::int64_t count) const {
  return read(numbers_from(first, count));
}

NoiseRows NoiseSample::read(const std::vector<std::int64_t>& numbers) const {
  const std::vector<std::int64_t> rows = in_table(numbers);
  NoiseRows read{read_numbered_rows(table_, "noise", rows).flatten(1).to(at::kDouble).div_(sigma_f_),
                 read_numbered_rows(table_, "label", rows).to(at::kLong),
                 {}};
  if (has_nll_) read.nll = read_numbered_rows(table_, "nll", rows).to(at::kDouble);
  return read;
}

std::vector<std::vector<std::int64_t>> NoiseSample::by_class(std::int64_t classes) const {
  std::vector<std::vector<std::int64_t>> rows(static_cast<std::size_t>(classes));
  const at::Tensor labels =
      read_numbered_rows(table_, "label", in_table(numbers_from(0, chosen_.size()))).to(at::kLong).contiguous();
  for (std::int64_t row = 0; row < chosen_.size(); ++row) {
    const std::int64_t label = labels.const_data_ptr<std::int64_t>()[row];
    if (label < 0 || label >= classes)
      fail("{}: row {} has the label {}, and there are {} classes", table_.path().string(), chosen_.at(row), label,
           classes);
    rows[static_cast<std::size_t>(label)].push_back(row);
  }
  return rows;
}

}  // namespace couplet
