#include "method/tables/row_subset.h"

#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/random.h"
#include "storage/error.h"

#include <algorithm>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t blocks_a_held_out_one = 20;

}  // namespace

RowSubset::RowSubset(std::shared_ptr<const StoredRows> all, std::vector<std::int64_t> blocks)
    : all_(std::move(all)), blocks_(std::move(blocks)) {
  for (const std::int64_t block : blocks_) rows_ += std::min(block_rows(), all_->rows() - block * block_rows());
}

std::int64_t RowSubset::number(std::int64_t row) const {
  return blocks_[static_cast<std::size_t>(row / block_rows())] * block_rows() + row % block_rows();
}

void RowSubset::gather(std::size_t column, std::span<const std::int64_t> numbers,
                       std::span<std::byte* const> places) const {
  std::vector<std::int64_t> of_all;
  for (const std::int64_t row : numbers) of_all.push_back(number(row));
  all_->gather(column, of_all, places);
}

std::int64_t held_out_blocks(std::int64_t blocks) {
  return std::max<std::int64_t>(1, blocks / blocks_a_held_out_one);
}

BlockSplit split_blocks(const StoredRows& rows, std::uint64_t seed) {
  const std::int64_t blocks = (rows.rows() + rows.block_rows() - 1) / rows.block_rows();
  const std::vector<std::int64_t> order = permutation(blocks, seed, Purpose::held_out_blocks, 0);
  const auto first_trained = order.begin() + held_out_blocks(blocks);
  BlockSplit split{{first_trained, order.end()}, {order.begin(), first_trained}};
  std::ranges::sort(split.trained);
  std::ranges::sort(split.held_out);
  return split;
}

BlockSplit hold_back_blocks(const RowTable& table, std::uint64_t seed) {
  if (table.rows() <= table.block_rows())
    refuse(
        "{}: its {} rows are one block, of which none can be held back: make it with smaller blocks "
        "(couple.block-rows)",
        table.path().string(), table.rows());
  return split_blocks(TableRows(table), seed);
}

}  // namespace couplet
