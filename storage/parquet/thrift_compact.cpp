#include "storage/parquet/thrift_compact.h"

#include "storage/error.h"

#include <utility>

namespace couplet {

void ThriftReader::malformed(const char* found) const {
  fail("{}: its metadata are damaged: {} at byte {}", what_, found, position_);
}

std::uint8_t ThriftReader::next() {
  if (position_ == bytes_.size()) malformed("they are cut short");
  return std::to_integer<std::uint8_t>(bytes_[position_++]);
}

std::uint64_t ThriftReader::read_varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = next();
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  malformed("a number without end");
}

std::int64_t ThriftReader::read_integer(ThriftType type) {
  if (type == ThriftType::truth) return 1;
  if (type == ThriftType::falsehood) return 0;
  if (type == ThriftType::byte) return static_cast<std::int8_t>(next());
  if (type != ThriftType::i16 && type != ThriftType::i32 && type != ThriftType::i64) malformed("no number");
  const std::uint64_t zigzag = read_varint();
  return static_cast<std::int64_t>(zigzag >> 1) ^ -static_cast<std::int64_t>(zigzag & 1);
}

std::string ThriftReader::read_text(ThriftType type) {
  if (type != ThriftType::binary) malformed("no text");
  const std::uint64_t size = read_varint();
  if (size > bytes_.size() - position_) malformed("a text that is cut short");
  std::string text(reinterpret_cast<const char*>(bytes_.data()) + position_, static_cast<std::size_t>(size));
  position_ += static_cast<std::size_t>(size);
  return text;
}

void ThriftReader::read_structure(const std::function<bool(std::int64_t id, ThriftType type)>& take) {
  if (++depth_ > deepest) malformed("values nested without end");
  std::int64_t id = 0;
  for (std::uint8_t header = next(); header != 0; header = next()) {
    const auto type = static_cast<ThriftType>(header & 0x0f);
    id = header >> 4 == 0 ? read_integer(ThriftType::i16) : id + (header >> 4);
    if (!take(id, type)) pass_over(type);
  }
  --depth_;
}

std::uint64_t ThriftReader::list_size(ThriftType& element) {
  const std::uint8_t header = next();
  element = static_cast<ThriftType>(header & 0x0f);
  const std::uint64_t size = header >> 4 == 15 ? read_varint() : header >> 4;
  // An element takes a byte at least.
  if (size > bytes_.size() - position_) malformed("a list that is cut short");
  return size;
}

void ThriftReader::read_list(ThriftType type, const std::function<void(ThriftType element)>& take) {
  if (type != ThriftType::list && type != ThriftType::set) malformed("no list");
  if (++depth_ > deepest) malformed("values nested without end");
  ThriftType element{};
  for (std::uint64_t left = list_size(element); left > 0; --left) take(element);
  --depth_;
}

void ThriftReader::pass_over(ThriftType type) {
  switch (type) {
    case ThriftType::truth:
    case ThriftType::falsehood:
      return;
    case ThriftType::byte:
    case ThriftType::i16:
    case ThriftType::i32:
    case ThriftType::i64:
      static_cast<void>(read_integer(type));
      return;
    case ThriftType::floating:
      for (int i = 0; i < 8; ++i) next();
      return;
    case ThriftType::binary:
      static_cast<void>(read_text(type));
      return;
    case ThriftType::list:
    case ThriftType::set:
      return read_list(type, [&](ThriftType element) {
        // Truth values take a byte each in a list.
        const bool is_truth = element == ThriftType::truth || element == ThriftType::falsehood;
        pass_over(is_truth ? ThriftType::byte : element);
      });
    case ThriftType::structure:
      return read_structure([](std::int64_t, ThriftType) { return false; });
    case ThriftType::map:
      break;
  }
  malformed("a value of a kind that Parquet has not");
}

}  // namespace couplet
