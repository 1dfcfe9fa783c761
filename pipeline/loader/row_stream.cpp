#include "pipeline/loader/row_stream.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/loader/row_order.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/tensor_bytes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <iterator>
#include <span>
#include <utility>

namespace couplet {
namespace {

/// What a caller asks for: `count` positions from `first` on, and again every `stride` positions.
struct Demand {
  std::int64_t first = 0, count = 1, stride = 1;

  bool operator==(const Demand&) const = default;
  /// The position that is asked for first among those from `position` on.
  std::int64_t next(std::int64_t position) const {
    const std::int64_t within = phase(position);
    return within < count ? position : position + stride - within;
  }
  /// The end of the run of positions that holds one that is asked for.
  std::int64_t run_end(std::int64_t position) const { return position + count - phase(position); }

private:
  std::int64_t phase(std::int64_t position) const { return ((position - first) % stride + stride) % stride; }
};

/// Positions that follow each other, and where in a piece the first one's row is.
struct Run {
  std::int64_t position = 0, count = 0, at = 0;
};

/// Rows that are read together, and their values in the chosen columns, [rows or more, shape...]. The rows are in the
/// order of their positions; where a window is the whole table, which is read only once, they are in the table's.
struct Piece {
  std::vector<Run> runs;           ///< ascending
  std::int64_t end = 0;            ///< the piece holds what is asked for before this position
  std::vector<std::int64_t> rows;  ///< numbers in the table, in the order of their positions
  std::vector<at::Tensor> columns;

  /// The run that holds a position, or none.
  const Run* run(std::int64_t position) const {
    auto found = std::ranges::upper_bound(runs, position, {}, &Run::position);
    if (found == runs.begin()) return nullptr;
    --found;
    return position < found->position + found->count ? &*found : nullptr;
  }
};

std::byte* row_of(at::Tensor& tensor, std::int64_t row, std::size_t row_bytes) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr()) + static_cast<std::size_t>(row) * row_bytes;
}

}  // namespace

struct RowStream::Impl {
  std::shared_ptr<const StoredRows> stored;
  std::vector<std::size_t> columns;
  bool whole_table;  ///< is one window
  RowOrder order;    ///< is used by one thread at a time: by `next`, while it is under way
  Demand demand;
  Piece current;
  std::future<Piece> next;  ///< is read on a thread, whose error get() throws

  const Column& column(std::size_t index) const { return stored->columns()[columns[index]]; }

  std::vector<at::Tensor> new_columns(std::int64_t rows) const {
    std::vector<at::Tensor> made;
    for (std::size_t i = 0; i < columns.size(); ++i) made.push_back(empty_rows(column(i), rows));
    return made;
  }

  std::vector<at::Tensor> read_table() const {
    std::vector<at::Tensor> rows = new_columns(stored->rows());
    for (std::size_t i = 0; i < columns.size(); ++i)
      stored->read(columns[i], 0, stored->rows(), writable_bytes(rows[i]));
    return rows;
  }

  /// Reads the rows of a piece in the table's order; each goes straight to its place.
  void read_piece(Piece& piece) const {
    // A table's row may stand at two positions: in the end of an epoch and in the beginning of the next.
    std::vector<std::pair<std::int64_t, std::int64_t>> wanted;  // row of the table, place in the piece
    for (const std::int64_t row : piece.rows) wanted.emplace_back(row, std::ssize(wanted));
    std::ranges::sort(wanted);
    std::vector<std::int64_t> numbers;
    for (const auto& [row, place] : wanted)
      if (numbers.empty() || numbers.back() != row) numbers.push_back(row);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const std::size_t row_bytes = column(i).row_bytes();
      std::vector<std::byte*> places;
      for (std::size_t k = 0; k < wanted.size(); ++k)
        if (k == 0 || wanted[k].first != wanted[k - 1].first)
          places.push_back(row_of(piece.columns[i], wanted[k].second, row_bytes));
      stored->gather(columns[i], numbers, places);
      for (std::size_t k = 1; k < wanted.size(); ++k)
        if (wanted[k].first == wanted[k - 1].first)
          std::memcpy(row_of(piece.columns[i], wanted[k].second, row_bytes),
                      row_of(piece.columns[i], wanted[k - 1].second, row_bytes), row_bytes);
    }
  }

  /// Reads what is asked for from `position` on, to the end of the windows that the first call needs. `memory` holds
  /// tensors of an earlier piece that may be written over, or none.
  Piece load(std::int64_t position, std::vector<at::Tensor> memory) {
    Piece piece;
    const std::int64_t begin = demand.next(position);
    const RowOrder::Window last = order.window(demand.run_end(begin) - 1);
    piece.end = last.first_position + std::ssize(last.rows);
    for (std::int64_t at = begin; at < piece.end;) {
      const std::int64_t end = std::min(demand.run_end(at), piece.end);
      const std::vector<std::int64_t> rows = order.at(at, end - at);
      if (!piece.runs.empty() && piece.runs.back().position + piece.runs.back().count == at)
        piece.runs.back().count += end - at;
      else
        piece.runs.push_back({at, end - at, std::ssize(piece.rows)});
      piece.rows.insert(piece.rows.end(), rows.begin(), rows.end());
      at = demand.next(end);
    }
    piece.columns = std::move(memory);
    if (whole_table) {
      if (piece.columns.empty()) piece.columns = read_table();
    } else {
      if (piece.columns.empty() || piece.columns[0].size(0) < std::ssize(piece.rows))
        piece.columns = new_columns(std::ssize(piece.rows));
      read_piece(piece);
    }
    return piece;
  }

  /// What the next piece may use of one that is left: all of it where a window is the whole table; else its memory, if
  /// nobody holds rows of it.
  std::vector<at::Tensor> reusable(std::vector<at::Tensor> left) const {
    const auto is_free = [](const at::Tensor& tensor) { return tensor.storage().use_count() == 1; };
    if (!whole_table && !std::all_of(left.begin(), left.end(), is_free)) left.clear();
    return left;
  }

  /// From now on this is what is asked for.
  void expect(const Demand& wanted) {
    if (demand.count == wanted.count && demand.stride == wanted.stride && demand.next(wanted.first) == wanted.first &&
        demand.run_end(wanted.first) == wanted.first + wanted.count)
      return;
    if (next.valid()) next.wait();
    demand = wanted;
  }

  /// Makes the piece of `position` the current one and starts to read the one behind it. It never holds more than two.
  void enter(std::int64_t position) {
    if (current.run(position) != nullptr) return;
    Piece piece;
    if (next.valid()) piece = next.get();
    std::vector<at::Tensor> left = std::move(current.columns);
    current = {};
    if (piece.run(position) == nullptr) {
      piece.columns.clear();
      piece = load(position, reusable(std::exchange(left, {})));
    }
    current = std::move(piece);
    std::vector<at::Tensor> memory = whole_table ? current.columns : reusable(std::move(left));
    next = std::async(std::launch::async, [this, behind = current.end, memory = std::move(memory)]() mutable {
      return load(behind, std::move(memory));
    });
  }

  /// Copies positions [first, first + count), all in one run of the current piece, to rows [at, at + count) of `out`.
  void copy_rows(const Run& run, std::int64_t first, std::int64_t count, std::int64_t at,
                 std::vector<at::Tensor>& out) {
    const std::int64_t within = run.at + first - run.position;
    const std::int64_t* rows = current.rows.data() + within;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const std::size_t row_bytes = column(c).row_bytes();
      std::byte* to = row_of(out[c], at, row_bytes);
      if (!whole_table) {
        std::memcpy(to, row_of(current.columns[c], within, row_bytes), static_cast<std::size_t>(count) * row_bytes);
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i)
        std::memcpy(to + static_cast<std::size_t>(i) * row_bytes, row_of(current.columns[c], rows[i], row_bytes),
                    row_bytes);
    }
  }
};

RowStream::RowStream(std::shared_ptr<const StoredRows> rows, const std::vector<std::string>& columns,
                     std::int64_t window_blocks, std::uint64_t seed)
    : impl_(new Impl{rows,
                     {},
                     window_blocks * rows->block_rows() >= rows->rows(),
                     RowOrder(rows->rows(), rows->block_rows(), window_blocks, seed),
                     {},
                     {},
                     {}}) {
  for (const auto& name : columns) impl_->columns.push_back(rows->column(name));
}

RowStream::RowStream(const RowTable& table, const std::vector<std::string>& columns, std::int64_t window_blocks,
                     std::uint64_t seed)
    : RowStream(std::make_shared<TableRows>(table), columns, window_blocks, seed) {}

RowStream::~RowStream() = default;  // waits for the thread: the future's destructor does

std::vector<at::Tensor> RowStream::read(std::int64_t first, std::int64_t count, std::int64_t stride) {
  if (count > 0) {
    impl_->expect({first, count, std::max(count, stride)});
    impl_->enter(first);
  }
  const Run* in = count > 0 && !impl_->whole_table ? impl_->current.run(first) : nullptr;
  const bool shared = in != nullptr && first + count <= in->position + in->count;
  std::vector<at::Tensor> out;
  for (std::size_t i = 0; i < impl_->columns.size(); ++i) {
    out.push_back(shared ? impl_->current.columns[i].narrow(0, in->at + first - in->position, count)
                         : empty_rows(impl_->column(i), count));
  }
  at::Tensor numbers = at::empty({count}, at::TensorOptions().dtype(at::kLong));
  for (std::int64_t position = first; position < first + count;) {
    impl_->enter(position);
    const Run& run = *impl_->current.run(position);
    const std::int64_t take = std::min(first + count, run.position + run.count) - position;
    if (!shared) impl_->copy_rows(run, position, take, position - first, out);
    std::copy_n(impl_->current.rows.begin() + (run.at + position - run.position), take,
                numbers.mutable_data_ptr<std::int64_t>() + (position - first));
    position += take;
  }
  out.push_back(std::move(numbers));
  return out;
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
