// Structures in Thrift's compact protocol (thrift-compact-protocol.md of github.com/apache/thrift), which Parquet's
// metadata are written in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

namespace couplet {

enum class ThriftType : std::uint8_t {
  truth = 1,
  falsehood = 2,
  byte = 3,
  i16 = 4,
  i32 = 5,
  i64 = 6,
  floating = 7,
  binary = 8,
  list = 9,
  set = 10,
  map = 11,
  structure = 12
};

/// Reads one value after the other from bytes that may be anybody's: what is cut short, malformed or nested deeper than
/// anything of Parquet's is an error that begins with `what`.
class ThriftReader {
public:
  ThriftReader(std::string what, std::span<const std::byte> bytes) : what_(std::move(what)), bytes_(bytes) {}

  /// How many bytes have been read.
  std::size_t position() const { return position_; }
  /// Reads the fields of a structure. `take` reads the value of one that it knows, and returns false, with nothing
  /// read, for others, which are passed over.
  void read_structure(const std::function<bool(std::int64_t id, ThriftType type)>& take);
  /// Calls `take` for each element of a list, which reads it.
  void read_list(ThriftType type, const std::function<void(ThriftType element)>& take);
  /// An integer of any width; `type` is what it is said to be.
  std::int64_t read_integer(ThriftType type);
  std::string read_text(ThriftType type);

private:
  std::uint8_t next();
  std::uint64_t read_varint();
  std::uint64_t list_size(ThriftType& element);
  void pass_over(ThriftType type);
  [[noreturn]] void malformed(const char* found) const;

  static constexpr int deepest = 16;

  std::string what_;
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace couplet
