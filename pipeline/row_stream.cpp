#include "pipeline/row_stream.h"

#include "pipeline/random.h"
#include "pipeline/weights.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <span>

namespace couplet {
namespace {

bool holds(const RowOrder::Window& window, std::int64_t position) {
  return position >= window.first_position &&
         position < window.first_position + static_cast<std::int64_t>(window.rows.size());
}

/// Draws of an epoch: number 0 is the order of its blocks, number 1 + w that of window w's rows.
std::uint64_t draw_index(std::int64_t epoch, std::int64_t number) {
  return (static_cast<std::uint64_t>(epoch) << 32) | static_cast<std::uint64_t>(number);
}

}  // namespace

RowOrder::RowOrder(std::int64_t rows, std::int64_t block_rows, std::int64_t window_blocks, std::uint64_t seed)
    : rows_(rows), block_rows_(block_rows), window_blocks_(window_blocks), seed_(seed) {
  if (rows < 1) fail("a table without rows cannot be put in an order");
  if (block_rows < 1) fail("blocks of {} rows: a block has at least one", block_rows);
  if (window_blocks < 1) fail("windows of {} blocks: a window has at least one", window_blocks);
}

std::vector<std::int64_t> RowOrder::block_order(std::int64_t epoch) const {
  const std::int64_t blocks = (rows_ + block_rows_ - 1) / block_rows_;
  return permutation(blocks, seed_, Purpose::row_order, draw_index(epoch, 0));
}

std::int64_t RowOrder::rows_in(const std::vector<std::int64_t>& blocks) const {
  std::int64_t count = 0;
  for (const auto block : blocks) count += std::min(block_rows_, rows_ - block * block_rows_);
  return count;
}

RowOrder::Window RowOrder::window(std::int64_t position) const {
  if (position < 0) fail("position {} of a training run: positions start at 0", position);
  Window window;
  window.epoch = position / rows_;
  const std::int64_t within = position % rows_;
  const auto order = block_order(window.epoch);
  const auto blocks = static_cast<std::int64_t>(order.size());

  // All windows before the one with the table's short last block are of full size; those behind it start earlier by
  // what is missing.
  const std::int64_t missing = blocks * block_rows_ - rows_;
  const std::int64_t full = window_blocks_ * block_rows_;
  const auto short_window = (std::find(order.begin(), order.end(), blocks - 1) - order.begin()) / window_blocks_;
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
    if (!holds(last_, position)) last_ = window(position);
    const auto begin = last_.rows.begin() + (position - last_.first_position);
    const auto take = std::min<std::int64_t>(first + count - position, last_.rows.end() - begin);
    rows.insert(rows.end(), begin, begin + take);
    position += take;
  }
  return rows;
}

namespace {

/// The chosen columns of a set of blocks, in the blocks' order in the table. Shared by windows made of the same blocks
/// (a table that fits into one window is read once).
struct Blocks {
  std::vector<std::int64_t> blocks;    ///< ascending
  std::vector<std::int64_t> first_at;  ///< index of each block's first row in `columns`
  std::vector<at::Tensor> columns;     ///< [rows, shape...]
};

struct LoadedWindow {
  RowOrder::Window order;
  std::shared_ptr<const Blocks> data;
};

std::span<std::byte> bytes_of(at::Tensor& tensor, std::int64_t first, std::int64_t rows, std::size_t row_bytes) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()) + static_cast<std::size_t>(first) * row_bytes,
          static_cast<std::size_t>(rows) * row_bytes};
}

at::Tensor empty_rows(const Column& column, std::int64_t rows) {
  std::vector<std::int64_t> shape{rows};
  shape.insert(shape.end(), column.shape.begin(), column.shape.end());
  return at::empty(shape, at::TensorOptions().dtype(scalar_type(column.type)));
}

}  // namespace

struct RowStream::Impl {
  const RowTable& table;
  std::vector<std::size_t> columns;
  std::int64_t window_blocks;
  RowOrder order;
  LoadedWindow current;
  std::future<LoadedWindow> next;  ///< being read on a thread; an error there is thrown by get()

  const Column& column(std::size_t index) const { return table.columns()[columns[index]]; }

  std::shared_ptr<const Blocks> read_blocks(std::vector<std::int64_t> sorted) const {
    auto data = std::make_shared<Blocks>();
    std::int64_t rows = 0;
    for (const auto block : sorted) {
      data->first_at.push_back(rows);
      rows += std::min(table.block_rows(), table.rows() - block * table.block_rows());
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
      auto& values = data->columns.emplace_back(empty_rows(column(i), rows));
      // Neighbouring blocks are one read.
      for (std::size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
        for (end = begin + 1; end < sorted.size() && sorted[end] == sorted[end - 1] + 1;) ++end;
        const std::int64_t count = (end < sorted.size() ? data->first_at[end] : rows) - data->first_at[begin];
        table.read(columns[i], sorted[begin] * table.block_rows(), count,
                   bytes_of(values, data->first_at[begin], count, column(i).row_bytes()));
      }
    }
    data->blocks = std::move(sorted);
    return data;
  }

  LoadedWindow load(std::int64_t position, const std::shared_ptr<const Blocks>& known) const {
    LoadedWindow window{order.window(position), nullptr};
    auto sorted = window.order.blocks;
    std::sort(sorted.begin(), sorted.end());
    window.data = known && known->blocks == sorted ? known : read_blocks(std::move(sorted));
    return window;
  }

  /// Makes the window of `position` the current one and starts reading the one behind it. Never holds more than two.
  void enter(std::int64_t position) {
    if (holds(current.order, position)) return;
    LoadedWindow window;
    if (next.valid()) window = next.get();
    if (!holds(window.order, position)) {
      window = {};
      window = load(position, current.data);
    }
    current = std::move(window);
    const std::int64_t behind = current.order.first_position + static_cast<std::int64_t>(current.order.rows.size());
    next = std::async(std::launch::async, [this, behind, known = current.data] { return load(behind, known); });
  }

  /// Copies positions [first, first + count), all in the current window, to rows [at, at + count) of `out`.
  void copy_rows(std::int64_t first, std::int64_t count, std::int64_t at, std::vector<at::Tensor>& out) const {
    const Blocks& data = *current.data;
    auto* numbers = out.back().mutable_data_ptr<std::int64_t>() + at;
    std::vector<std::size_t> places(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < places.size(); ++i) {
      const std::int64_t row = current.order.rows[static_cast<std::size_t>(first - current.order.first_position) + i];
      const std::int64_t block = row / table.block_rows();
      const auto found = std::lower_bound(data.blocks.begin(), data.blocks.end(), block) - data.blocks.begin();
      places[i] = static_cast<std::size_t>(data.first_at[static_cast<std::size_t>(found)] + row % table.block_rows());
      numbers[i] = row;
    }
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const std::size_t row_bytes = column(c).row_bytes();
      const auto* from = static_cast<const std::byte*>(data.columns[c].const_data_ptr());
      auto* to = bytes_of(out[c], at, count, row_bytes).data();
      for (const auto place : places) {
        std::memcpy(to, from + place * row_bytes, row_bytes);
        to += row_bytes;
      }
    }
  }
};

RowStream::RowStream(const RowTable& table, const std::vector<std::string>& columns, std::int64_t window_blocks,
                     std::uint64_t seed)
    : impl_(
          new Impl{table, {}, window_blocks, RowOrder(table.rows(), table.block_rows(), window_blocks, seed), {}, {}}) {
  for (const auto& name : columns) impl_->columns.push_back(table.column(name));
}

RowStream::~RowStream() = default;  // waits for the thread: the future's destructor does

std::vector<at::Tensor> RowStream::read(std::int64_t first, std::int64_t count) {
  std::vector<at::Tensor> out;
  for (std::size_t i = 0; i < impl_->columns.size(); ++i) out.push_back(empty_rows(impl_->column(i), count));
  out.push_back(at::empty({count}, at::TensorOptions().dtype(at::kLong)));
  for (std::int64_t position = first; position < first + count;) {
    impl_->enter(position);
    const auto& window = impl_->current.order;
    const std::int64_t end = window.first_position + static_cast<std::int64_t>(window.rows.size());
    const std::int64_t take = std::min(first + count, end) - position;
    impl_->copy_rows(position, take, position - first, out);
    position += take;
  }
  return out;
}

std::int64_t RowStream::window_bytes() const {
  std::size_t row_bytes = 0;
  for (std::size_t i = 0; i < impl_->columns.size(); ++i) row_bytes += impl_->column(i).row_bytes();
  const std::int64_t rows = std::min(impl_->table.rows(), impl_->window_blocks * impl_->table.block_rows());
  // A window that is the whole table stays, and is not read again.
  const std::int64_t windows = rows == impl_->table.rows() ? 1 : 2;
  return windows * rows * static_cast<std::int64_t>(row_bytes);
}

}  // namespace couplet
