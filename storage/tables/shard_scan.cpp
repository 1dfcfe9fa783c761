#include "storage/tables/shard_scan.h"

#include "storage/files/hash.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace couplet {
namespace {

/// Small enough that both hashes and the look at the values find the bytes in the processor's cache.
constexpr std::size_t piece_bytes = std::size_t{1} << 18;

/// Whether a float of this bit pattern is NaN or infinite: its exponent is all ones.
template <class Bits, Bits exponent>
bool any_nonfinite(std::span<const std::byte> bytes) {
  Bits found = 0;
  for (std::size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + at, sizeof bits);
    found = static_cast<Bits>(found | static_cast<Bits>((bits & exponent) == exponent));
  }
  return found != 0;
}

bool holds_nonfinite(ElementType type, std::span<const std::byte> bytes) {
  switch (type) {
    case ElementType::float16:
      return any_nonfinite<std::uint16_t, 0x7c00>(bytes);
    case ElementType::bfloat16:
      return any_nonfinite<std::uint16_t, 0x7f80>(bytes);
    case ElementType::float32:
      return any_nonfinite<std::uint32_t, 0x7f800000>(bytes);
    case ElementType::float64:
      return any_nonfinite<std::uint64_t, 0x7ff0000000000000>(bytes);
    case ElementType::uint8:
    case ElementType::int32:
    case ElementType::int64:
      return false;
  }
  return false;
}

class Scan {
public:
  explicit Scan(const RowShard& shard) : shard_(shard), size_(shard.file().size()), buffer_(piece_bytes) {}

  ShardScan run() {
    std::vector<std::size_t> order(shard_.columns().size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t column) { return shard_.offset(column); });
    for (const std::size_t column : order) {
      read_to(shard_.offset(column));
      read_column(column);
    }
    read_to(size_);
    found_.content_hash = hash_.text();
    return std::move(found_);
  }

private:
  std::span<const std::byte> next(std::uint64_t most) {
    const auto piece = std::span(buffer_).first(static_cast<std::size_t>(std::min<std::uint64_t>(most, piece_bytes)));
    shard_.file().read_at(piece, position_);
    hash_.add(piece);
    position_ += piece.size();
    return piece;
  }

  /// What lies between columns: HDF5's metadata and the checksums.
  void read_to(std::uint64_t end) {
    while (position_ < end) next(end - position_);
  }

  void read_column(std::size_t column) {
    const ShardHeader& header = shard_.header();
    const Column& described = shard_.columns()[column];
    const std::size_t row_bytes = described.row_bytes();
    for (std::int64_t first = 0; first < header.rows; first += header.block_rows) {
      const std::int64_t rows = std::min(header.block_rows, header.rows - first);
      const std::uint64_t start = position_, bytes = static_cast<std::uint64_t>(rows) * row_bytes;
      block_.reset();
      while (position_ < start + bytes) {
        const std::uint64_t within = position_ - start;
        const auto piece = next(start + bytes - position_);
        block_.add(piece);
        if (holds_nonfinite(described.type, piece)) find_nonfinite(column, first, within, piece);
      }
      if (block_.value() != shard_.checksums(column)[static_cast<std::size_t>(first / header.block_rows)]) {
        found_.damaged.push_back({column, first, first + rows - 1});
      }
    }
  }

  /// Notes the rows that the bad values of a piece belong to; `within` is the piece's place in its block.
  void find_nonfinite(std::size_t column, std::int64_t block_first, std::uint64_t within,
                      std::span<const std::byte> piece) {
    const Column& described = shard_.columns()[column];
    const std::size_t row_bytes = described.row_bytes();
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t left_in_row = row_bytes - static_cast<std::size_t>((within + at) % row_bytes);
      const auto part = piece.subspan(at, std::min(left_in_row, piece.size() - at));
      const std::int64_t row = block_first + static_cast<std::int64_t>((within + at) / row_bytes);
      if (holds_nonfinite(described.type, part)) note_nonfinite(column, row);
      at += part.size();
    }
  }

  void note_nonfinite(std::size_t column, std::int64_t row) {
    if (!found_.nonfinite.empty()) {
      RowRange& last = found_.nonfinite.back();
      if (last.column == column && row <= last.last + 1) {
        last.last = std::max(last.last, row);
        return;
      }
    }
    found_.nonfinite.push_back({column, row, row});
  }

  const RowShard& shard_;
  const std::uint64_t size_;
  std::vector<std::byte> buffer_;
  std::uint64_t position_ = 0;
  ContentHash hash_;
  BlockHash block_;
  ShardScan found_;
};

}  // namespace

ShardScan scan_shard(const RowShard& shard) {
  return Scan(shard).run();
}

}  // namespace couplet
