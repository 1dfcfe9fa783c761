#include "pipeline/loader/row_order.h"

#include "pipeline/tensor/random.h"
#include "storage/error.h"

#include <algorithm>
#include <iterator>

namespace couplet {
namespace {

/// The index of an epoch's draws: number 0 orders its blocks, number 1 + w the rows of window w.
std::uint64_t draw_index(std::int64_t epoch, std::int64_t number) {
  return (static_cast<std::uint64_t>(epoch) << 32) | static_cast<std::uint64_t>(number);
}

}  // namespace

bool RowOrder::Window::holds(std::int64_t position) const {
  return position >= first_position && position < first_position + std::ssize(rows);
}

RowOrder::RowOrder(std::int64_t rows, std::int64_t block_rows, std::int64_t window_blocks, std::uint64_t seed)
    : rows_(rows), block_rows_(block_rows), window_blocks_(window_blocks), seed_(seed) {
  if (rows < 1) fail("a table without rows cannot be put in an order");
  if (block_rows < 1) fail("blocks of {} rows: a block has at least one", block_rows);
  if (window_blocks < 1) fail("windows of {} blocks: a window has at least one", window_blocks);
}

const RowOrder::Epoch& RowOrder::epoch(std::int64_t number) {
  if (epoch_.number == number) return epoch_;
  const std::int64_t blocks = (rows_ + block_rows_ - 1) / block_rows_;
  epoch_ = {number, permutation(blocks, seed_, Purpose::row_order, draw_index(number, 0)), 0};
  const auto short_block = std::ranges::find(epoch_.blocks, blocks - 1);
  epoch_.short_window = (short_block - epoch_.blocks.begin()) / window_blocks_;
  return epoch_;
}

std::int64_t RowOrder::rows_in(const std::vector<std::int64_t>& blocks) const {
  std::int64_t count = 0;
  for (const auto block : blocks) count += std::min(block_rows_, rows_ - block * block_rows_);
  return count;
}

RowOrder::Window RowOrder::window(std::int64_t position) {
  if (position < 0) fail("position {} of a training run: positions start at 0", position);
  Window window;
  window.epoch = position / rows_;
  const std::int64_t within = position % rows_;
  const auto& [number, order, short_window] = epoch(window.epoch);
  const auto blocks = static_cast<std::int64_t>(order.size());

  // All windows before the one with the table's short last block are of full size; those behind it start earlier by
  // what is missing.
  const std::int64_t missing = blocks * block_rows_ - rows_;
  const std::int64_t full = window_blocks_ * block_rows_;
  const bool behind = within >= (short_window + 1) * full - missing;
  window.index = (within + (behind ? missing : 0)) / full;
  window.first_position = window.epoch * rows_ + window.index * full - (window.index > short_window ? missing : 0);

  const auto first_block = window.index * window_blocks_;
  window.blocks.assign(order.begin() + first_block, order.begin() + std::min(blocks, first_block + window_blocks_));
  std::vector<std::int64_t> unshuffled;
  unshuffled.reserve(static_cast<std::size_t>(rows_in(window.blocks)));
  for (const auto block : window.blocks) {
    const std::int64_t end = std::min(rows_, (block + 1) * block_rows_);
    for (std::int64_t row = block * block_rows_; row < end; ++row) unshuffled.push_back(row);
  }
  window.rows = permutation(static_cast<std::int64_t>(unshuffled.size()), seed_, Purpose::row_order,
                            draw_index(window.epoch, 1 + window.index));
  for (auto& row : window.rows) row = unshuffled[static_cast<std::size_t>(row)];
  return window;
}

std::vector<std::int64_t> RowOrder::at(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> rows;
  rows.reserve(static_cast<std::size_t>(count));
  for (std::int64_t position = first; position < first + count;) {
    if (!last_.holds(position)) last_ = window(position);
    const auto begin = last_.rows.begin() + (position - last_.first_position);
    const auto take = std::min<std::int64_t>(first + count - position, last_.rows.end() - begin);
    rows.insert(rows.end(), begin, begin + take);
    position += take;
  }
  return rows;
}

}  // namespace couplet
