#include "pipeline/loader/row_stream.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/loader/row_order.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <iterator>
#include <span>
#include <utility>

namespace couplet {
namespace {

/// A window and its rows of the chosen columns, [rows or more, shape...]. The rows are in the window's order; where the
/// window is the whole table, which is read only once, they are in the table's.
struct LoadedWindow {
  RowOrder::Window order;
  std::vector<at::Tensor> columns;
};

std::byte* row_of(at::Tensor& tensor, std::int64_t row, std::size_t row_bytes) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr()) + static_cast<std::size_t>(row) * row_bytes;
}

at::Tensor empty_rows(const Column& column, std::int64_t rows) {
  std::vector<std::int64_t> shape{rows};
  shape.insert(shape.end(), column.shape.begin(), column.shape.end());
  return at::empty(shape, at::TensorOptions().dtype(scalar_type(column.type)));
}

}  // namespace

struct RowStream::Impl {
  std::shared_ptr<const StoredRows> stored;
  std::vector<std::size_t> columns;
  std::int64_t window_rows;  ///< rows of a full window
  RowOrder order;
  LoadedWindow current;
  std::future<LoadedWindow> next;  ///< is read on a thread, whose error get() throws

  const Column& column(std::size_t index) const { return stored->columns()[columns[index]]; }
  bool whole_table() const { return window_rows == stored->rows(); }

  std::vector<at::Tensor> new_columns() const {
    std::vector<at::Tensor> made;
    for (std::size_t i = 0; i < columns.size(); ++i) made.push_back(empty_rows(column(i), window_rows));
    return made;
  }

  std::vector<at::Tensor> read_table() const {
    std::vector<at::Tensor> rows = new_columns();
    for (std::size_t i = 0; i < columns.size(); ++i)
      stored->read(columns[i], 0, stored->rows(), writable_bytes(rows[i]));
    return rows;
  }

  /// Reads the blocks of a window in the table's order; each row goes straight to its place in the window.
  void read_window(const RowOrder::Window& window, std::vector<at::Tensor>& out) const {
    std::vector<std::pair<std::int64_t, std::int64_t>> rows;  // row of the table, position in the window
    for (const std::int64_t row : window.rows) rows.emplace_back(row, std::ssize(rows));
    std::sort(rows.begin(), rows.end());
    std::vector<std::byte*> places(rows.size());
    for (std::size_t i = 0; i < columns.size(); ++i) {
      for (std::size_t k = 0; k < rows.size(); ++k) places[k] = row_of(out[i], rows[k].second, column(i).row_bytes());
      // Neighbouring blocks are read together.
      for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
        for (end = begin + 1; end < rows.size() && rows[end].first == rows[end - 1].first + 1;) ++end;
        stored->scatter(columns[i], rows[begin].first, std::span(places).subspan(begin, end - begin));
      }
    }
  }

  /// `memory` holds tensors of an earlier window that may be written over, or none.
  LoadedWindow load(std::int64_t position, std::vector<at::Tensor> memory) const {
    LoadedWindow window{order.window(position), std::move(memory)};
    if (whole_table()) {
      if (window.columns.empty()) window.columns = read_table();
    } else {
      if (window.columns.empty()) window.columns = new_columns();
      read_window(window.order, window.columns);
    }
    return window;
  }

  /// What the next window may use of one that is left: all of it where the window is the whole table; else its memory,
  /// if nobody holds rows of it.
  std::vector<at::Tensor> reusable(std::vector<at::Tensor> left) const {
    const auto is_free = [](const at::Tensor& tensor) { return tensor.storage().use_count() == 1; };
    if (!whole_table() && !std::all_of(left.begin(), left.end(), is_free)) left.clear();
    return left;
  }

  /// Makes the window of `position` the current one and starts to read the one behind it. It never holds more than two.
  void enter(std::int64_t position) {
    if (current.order.holds(position)) return;
    LoadedWindow window;
    if (next.valid()) window = next.get();
    std::vector<at::Tensor> left = std::move(current.columns);
    current = {};
    if (!window.order.holds(position)) {
      window.columns.clear();
      window = load(position, reusable(std::exchange(left, {})));
    }
    current = std::move(window);
    const std::int64_t behind = current.order.first_position + std::ssize(current.order.rows);
    std::vector<at::Tensor> memory = whole_table() ? current.columns : reusable(std::move(left));
    next = std::async(std::launch::async,
                      [this, behind, memory = std::move(memory)]() mutable { return load(behind, std::move(memory)); });
  }

  /// Copies positions [first, first + count), all in the current window, to rows [at, at + count) of `out`.
  void copy_rows(std::int64_t first, std::int64_t count, std::int64_t at, std::vector<at::Tensor>& out) {
    const std::int64_t within = first - current.order.first_position;
    const std::int64_t* rows = current.order.rows.data() + within;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const std::size_t row_bytes = column(c).row_bytes();
      std::byte* to = row_of(out[c], at, row_bytes);
      if (!whole_table()) {
        std::memcpy(to, row_of(current.columns[c], within, row_bytes), static_cast<std::size_t>(count) * row_bytes);
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i)
        std::memcpy(to + static_cast<std::size_t>(i) * row_bytes, row_of(current.columns[c], rows[i], row_bytes),
                    row_bytes);
    }
  }

  bool in_current(std::int64_t first, std::int64_t count) const {
    return count > 0 && current.order.holds(first) && current.order.holds(first + count - 1);
  }
};

RowStream::RowStream(std::shared_ptr<const StoredRows> rows, const std::vector<std::string>& columns,
                     std::int64_t window_blocks, std::uint64_t seed)
    : impl_(new Impl{rows,
                     {},
                     std::min(rows->rows(), window_blocks * rows->block_rows()),
                     RowOrder(rows->rows(), rows->block_rows(), window_blocks, seed),
                     {},
                     {}}) {
  for (const auto& name : columns) impl_->columns.push_back(rows->column(name));
}

RowStream::RowStream(const RowTable& table, const std::vector<std::string>& columns, std::int64_t window_blocks,
                     std::uint64_t seed)
    : RowStream(std::make_shared<TableRows>(table), columns, window_blocks, seed) {}

RowStream::~RowStream() = default;  // waits for the thread: the future's destructor does

std::vector<at::Tensor> RowStream::read(std::int64_t first, std::int64_t count) {
  if (count > 0) impl_->enter(first);
  std::vector<at::Tensor> out;
  const bool shared = impl_->in_current(first, count) && !impl_->whole_table();
  for (std::size_t i = 0; i < impl_->columns.size(); ++i) {
    const std::int64_t within = first - impl_->current.order.first_position;
    out.push_back(shared ? impl_->current.columns[i].narrow(0, within, count) : empty_rows(impl_->column(i), count));
  }
  at::Tensor numbers = at::empty({count}, at::TensorOptions().dtype(at::kLong));
  for (std::int64_t position = first; position < first + count;) {
    impl_->enter(position);
    const auto& window = impl_->current.order;
    const std::int64_t end = window.first_position + std::ssize(window.rows);
    const std::int64_t take = std::min(first + count, end) - position;
    if (!shared) impl_->copy_rows(position, take, position - first, out);
    std::copy_n(window.rows.begin() + (position - window.first_position), take,
                numbers.mutable_data_ptr<std::int64_t>() + (position - first));
    position += take;
  }
  out.push_back(std::move(numbers));
  return out;
}

std::int64_t RowStream::window_bytes() const {
  std::size_t row_bytes = 0;
  for (std::size_t i = 0; i < impl_->columns.size(); ++i) row_bytes += impl_->column(i).row_bytes();
  // A window that is the whole table stays, and is not read again.
  return (impl_->whole_table() ? 1 : 2) * impl_->window_rows * static_cast<std::int64_t>(row_bytes);
}

ReadOptions training_reads(const StorageConfig& config) {
  return {.verify = config.verify_reads,
          .cache_dir = config.cache_dir,
          .cache_bytes = static_cast<std::uint64_t>(config.cache_size * 0x1p30),
          .note = [](const std::string& text) { say("{}", text); }};
}

RowTable open_for_training(const std::filesystem::path& directory, const std::string& format,
                           const ReadOptions& reads) {
  const WorkingAlone alone(fmt::format("opening {}", directory.string()));
  return RowTable(directory, format, reads);
}

}  // namespace couplet
