#include "storage/tables/shard_scan.h"

#include "storage/files/hash.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace couplet {
namespace {

/// Small enough that both hashes and the look at the values find the bytes in the processor's cache.
constexpr std::size_t scanned_piece_bytes = std::size_t{1} << 18;

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
  explicit Scan(const RowShard& shard) : shard_(shard), size_(shard.file().size()), buffer_(scanned_piece_bytes) {}

  ShardScan run() {
    for (const std::size_t column : columns_in_file()) {
      read_to(shard_.offset(column));
      read_column(column);
    }
    read_to(size_);
    found_.content_hash = hash_.text();
    return std::move(found_);
  }

  /// The content hash alone: only what it covers is read.
  std::string hash() {
    if (!has_row_checksums(shard_.header())) return hash_file(shard_.path());
    for (const std::size_t column : columns_in_file()) {
      read_to(shard_.offset(column));
      position_ += shard_.columns()[column].row_bytes() * static_cast<std::uint64_t>(shard_.header().rows);
    }
    read_to(size_);
    return hash_.text();
  }

private:
  /// In the order of their bytes.
  std::vector<std::size_t> columns_in_file() const {
    std::vector<std::size_t> order(shard_.columns().size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t column) { return shard_.offset(column); });
    return order;
  }

  std::span<const std::byte> next(std::uint64_t most, bool hashed) {
    const auto piece =
        std::span(buffer_).first(static_cast<std::size_t>(std::min<std::uint64_t>(most, scanned_piece_bytes)));
    shard_.file().read_at(piece, position_);
    if (hashed) hash_.add(piece);
    position_ += piece.size();
    return piece;
  }

  /// What lies between columns: HDF5's metadata and the checksums.
  void read_to(std::uint64_t end) {
    while (position_ < end) next(end - position_, true);
  }

  void read_column(std::size_t column) {
    const ShardHeader& header = shard_.header();
    const Column& described = shard_.columns()[column];
    const std::size_t row_bytes = described.row_bytes();
    for (std::int64_t first = 0; first < header.rows; first += header.block_rows) {
      const std::vector<std::uint64_t> row_sums =
          shard_.row_checksums(column, first, std::min(header.block_rows, header.rows - first));
      row_.reset();
      const std::int64_t rows = std::min(header.block_rows, header.rows - first);
      const std::uint64_t start = position_, bytes = static_cast<std::uint64_t>(rows) * row_bytes;
      block_.reset();
      while (position_ < start + bytes) {
        const std::uint64_t within = position_ - start;
        const auto piece = next(start + bytes - position_, !has_row_checksums(header));
        block_.add(piece);
        if (!row_sums.empty()) check_rows(column, first, within, piece, row_sums);
        if (holds_nonfinite(described.type, piece)) find_nonfinite(column, first, within, piece);
      }
      if (block_.value() != shard_.checksums(column)[static_cast<std::size_t>(first / header.block_rows)]) {
        note(found_.damaged, column, first, first + rows - 1);
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
      if (holds_nonfinite(described.type, part)) note(found_.nonfinite, column, row, row);
      at += part.size();
    }
  }

  /// Compares the rows that end in a piece with their checksums; `within` is the piece's place in its block. What does
  /// not fit though the block does is damaged too: its checksum.
  void check_rows(std::size_t column, std::int64_t block_first, std::uint64_t within, std::span<const std::byte> piece,
                  const std::vector<std::uint64_t>& sums) {
    const std::size_t row_bytes = shard_.columns()[column].row_bytes();
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t done = static_cast<std::size_t>((within + at) % row_bytes);
      const auto part = piece.subspan(at, std::min(row_bytes - done, piece.size() - at));
      const std::uint64_t row = (within + at) / row_bytes;
      at += part.size();
      std::uint64_t sum = 0;
      if (part.size() == row_bytes) {
        sum = hash_bytes(part);
      } else {
        row_.add(part);
        if (done + part.size() < row_bytes) continue;
        sum = row_.value();
        row_.reset();
      }
      const std::int64_t number = block_first + static_cast<std::int64_t>(row);
      if (sum != sums[row]) note(found_.damaged, column, number, number);
    }
  }

  /// Adds rows, whose numbers ascend, to a list in which neighbours are joined.
  static void note(std::vector<RowRange>& ranges, std::size_t column, std::int64_t first, std::int64_t last) {
    if (!ranges.empty() && ranges.back().column == column && first <= ranges.back().last + 1) {
      ranges.back().first = std::min(ranges.back().first, first);
      ranges.back().last = std::max(ranges.back().last, last);
    } else {
      ranges.push_back({column, first, last});
    }
  }

  const RowShard& shard_;
  const std::uint64_t size_;
  std::vector<std::byte> buffer_;
  std::uint64_t position_ = 0;
  ContentHash hash_;
  BlockHash block_, row_;
  ShardScan found_;
};

}  // namespace

ShardScan scan_shard(const RowShard& shard) {
  return Scan(shard).run();
}

std::string content_hash(const RowShard& shard) {
  return Scan(shard).hash();
}

}  // namespace couplet
