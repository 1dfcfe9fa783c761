#include "storage/parquet/parquet_metadata.h"

#include "storage/error.h"
#include "storage/parquet/thrift_compact.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

constexpr std::string_view parquet_magic = "PAR1";
constexpr std::uint64_t most_footer_bytes = std::uint64_t{1} << 28;
constexpr std::int64_t no_type = -1;

/// An element of the schema, which is a tree in depth-first order.
struct SchemaElement {
  std::int64_t type = no_type;  ///< none of a group
  std::int64_t repetition = 0;  ///< 0 required, 1 optional, 2 repeated
  std::int64_t children = 0;
  std::string name;
};

SchemaElement read_element(ThriftReader& reader) {
  SchemaElement element;
  reader.read_structure([&](std::int64_t id, ThriftType type) {
    if (id == 1)
      element.type = reader.read_integer(type);
    else if (id == 3)
      element.repetition = reader.read_integer(type);
    else if (id == 4)
      element.name = reader.read_text(type);
    else if (id == 5)
      element.children = reader.read_integer(type);
    else
      return false;
    return true;
  });
  return element;
}

/// Adds the leaves below element `at`, and moves `at` behind them.
void add_leaves(const std::string& what, const std::vector<SchemaElement>& elements, std::size_t& at,
                ParquetColumn above, int depth, std::vector<ParquetColumn>& columns) {
  constexpr int deepest = 32;
  if (at >= elements.size() || depth > deepest) fail("{}: is damaged: its schema is no tree", what);
  const SchemaElement& element = elements[at++];
  if (depth > 0) above.path += (above.path.empty() ? "" : ".") + element.name;
  above.optional_levels += depth > 0 && element.repetition == 1;
  above.is_repeated = above.is_repeated || (depth > 0 && element.repetition == 2);
  if (element.type != no_type) {
    above.type = static_cast<ParquetType>(element.type);
    columns.push_back(std::move(above));
    return;
  }
  for (std::int64_t child = 0; child < element.children; ++child)
    add_leaves(what, elements, at, above, depth + 1, columns);
}

/// Where the pages of a chunk begin: a dictionary stands before those of data.
struct ChunkPlaces {
  std::int64_t data = 0, dictionary = 0, bytes = 0;
};

ParquetChunk read_chunk(const std::string& what, ThriftReader& reader) {
  ParquetChunk chunk;
  ChunkPlaces places;
  reader.read_structure([&](std::int64_t id, ThriftType type) {
    if (id == 1) fail("{}: its values lie in another file, {}", what, reader.read_text(type));
    if (id == 8 || id == 9) fail("{}: is encrypted", what);
    if (id != 3) return false;
    reader.read_structure([&](std::int64_t field, ThriftType kind) {
      if (field == 4)
        chunk.packing = static_cast<ParquetPacking>(reader.read_integer(kind));
      else if (field == 5)
        chunk.values = reader.read_integer(kind);
      else if (field == 7)
        places.bytes = reader.read_integer(kind);
      else if (field == 9)
        places.data = reader.read_integer(kind);
      else if (field == 11)
        places.dictionary = reader.read_integer(kind);
      else
        return false;
      return true;
    });
    return true;
  });
  // Some writers say 0 where there is no dictionary.
  const std::int64_t first = places.dictionary > 0 && places.dictionary < places.data ? places.dictionary : places.data;
  if (first < 0 || places.bytes < 0 || chunk.values < 0) fail("{}: is damaged: a chunk has no place", what);
  chunk.first_byte = static_cast<std::uint64_t>(first);
  chunk.bytes = static_cast<std::uint64_t>(places.bytes);
  return chunk;
}

ParquetRowGroup read_group(const std::string& what, ThriftReader& reader) {
  ParquetRowGroup group;
  reader.read_structure([&](std::int64_t id, ThriftType type) {
    if (id == 1)
      reader.read_list(type, [&](ThriftType) { group.chunks.push_back(read_chunk(what, reader)); });
    else if (id == 3)
      group.rows = reader.read_integer(type);
    else
      return false;
    return true;
  });
  return group;
}

/// The text under the key `huggingface`, of which the list has at most one.
void read_key(ThriftReader& reader, std::string& huggingface) {
  std::string key, value;
  reader.read_structure([&](std::int64_t id, ThriftType type) {
    if (id != 1 && id != 2) return false;
    (id == 1 ? key : value) = reader.read_text(type);
    return true;
  });
  if (key == "huggingface") huggingface = std::move(value);
}

std::vector<std::byte> read_footer(const std::string& what, const FileHandle& file) {
  constexpr std::uint64_t ends = 12;  // the signature twice, and the footer's length
  const std::uint64_t size = file.size();
  std::array<char, 8> end{};
  std::array<char, 4> start{};
  if (size >= ends) {
    file.read_at(std::as_writable_bytes(std::span(start)), 0);
    file.read_at(std::as_writable_bytes(std::span(end)), size - end.size());
  }
  if (std::string_view(start.data(), 4) != parquet_magic) fail("{}: is no Parquet file", what);
  if (std::string_view(end.data() + 4, 4) != parquet_magic)
    fail("{}: does not end as a Parquet file: it is cut short, or encrypted", what);
  std::uint32_t bytes = 0;
  std::memcpy(&bytes, end.data(), sizeof bytes);
  if (bytes > size - ends || bytes > most_footer_bytes)
    fail("{}: is damaged: a file of {} bytes has no metadata of {}", what, size, bytes);
  std::vector<std::byte> footer(bytes);
  file.read_at(footer, size - end.size() - bytes);
  return footer;
}

void check_groups(const std::string& what, const ParquetMetadata& metadata, std::uint64_t size) {
  std::int64_t rows = 0;
  for (const ParquetRowGroup& group : metadata.groups) {
    if (group.chunks.size() != metadata.columns.size() || group.rows < 0 ||
        __builtin_add_overflow(rows, group.rows, &rows))
      fail("{}: is damaged: a group of {} rows and {} columns, of {} in the schema", what, group.rows,
           group.chunks.size(), metadata.columns.size());
    for (const ParquetChunk& chunk : group.chunks)
      if (chunk.first_byte > size || chunk.bytes > size - chunk.first_byte)
        fail("{}: is damaged: {} bytes at {} lie outside of its {}", what, chunk.bytes, chunk.first_byte, size);
  }
  // Memory is taken by the row. A file of images has more bytes than rows.
  if (rows > static_cast<std::int64_t>(size)) fail("{}: is damaged: {} bytes hold no {} rows", what, size, rows);
  if (rows != metadata.rows) fail("{}: is damaged: it has {} rows in groups of {}", what, metadata.rows, rows);
}

ParquetPage parse_page(const std::string& what, std::span<const std::byte> bytes) {
  ParquetPage page;
  std::int64_t unpacked = -1, packed = -1, definitions = 0, repetitions = 0;
  ThriftReader reader(what, bytes);
  const auto read_data = [&](bool is_second) {
    reader.read_structure([&](std::int64_t id, ThriftType type) {
      if (id == 1)
        page.values = reader.read_integer(type);
      else if (id == (is_second ? 4 : 2))
        page.encoding = reader.read_integer(type);
      else if (is_second && id == 5)
        definitions = reader.read_integer(type);
      else if (is_second && id == 6)
        repetitions = reader.read_integer(type);
      else if (is_second && id == 7)
        page.is_packed = reader.read_integer(type) != 0;
      else
        return false;
      return true;
    });
  };
  reader.read_structure([&](std::int64_t id, ThriftType type) {
    if (id == 1)
      page.kind = static_cast<ParquetPage::Kind>(reader.read_integer(type));
    else if (id == 2)
      unpacked = reader.read_integer(type);
    else if (id == 3)
      packed = reader.read_integer(type);
    else if (id == 5 || id == 7)
      read_data(false);
    else if (id == 8)
      read_data(true);
    else
      return false;
    return true;
  });
  if (unpacked < 0 || packed < 0 || page.values < 0 || definitions < 0 || repetitions < 0)
    fail("{}: is damaged: a page without sizes", what);
  page.header_bytes = reader.position();
  page.bytes = static_cast<std::uint64_t>(unpacked);
  page.packed_bytes = static_cast<std::uint64_t>(packed);
  page.definition_bytes = static_cast<std::uint64_t>(definitions);
  page.repetition_bytes = static_cast<std::uint64_t>(repetitions);
  return page;
}

}  // namespace

ParquetMetadata read_parquet_metadata(const std::string& what, const FileHandle& file) {
  const std::vector<std::byte> footer = read_footer(what, file);
  ThriftReader reader(what, footer);
  ParquetMetadata metadata;
  std::vector<SchemaElement> elements;
  reader.read_structure([&](std::int64_t id, ThriftType type) {
    if (id == 2)
      reader.read_list(type, [&](ThriftType) { elements.push_back(read_element(reader)); });
    else if (id == 3)
      metadata.rows = reader.read_integer(type);
    else if (id == 4)
      reader.read_list(type, [&](ThriftType) { metadata.groups.push_back(read_group(what, reader)); });
    else if (id == 5)
      reader.read_list(type, [&](ThriftType) { read_key(reader, metadata.huggingface); });
    else
      return false;
    return true;
  });
  std::size_t at = 0;
  add_leaves(what, elements, at, {}, 0, metadata.columns);
  if (at != elements.size()) fail("{}: is damaged: its schema is no tree", what);
  check_groups(what, metadata, file.size());
  return metadata;
}

ParquetPage read_parquet_page(const std::string& what, const FileHandle& file, std::uint64_t offset,
                              std::uint64_t most) {
  // Headers are short, unless they hold statistics of long values.
  constexpr std::uint64_t usual = 4096, longest = std::uint64_t{1} << 20;
  for (std::uint64_t size = std::min(usual, most);; size = std::min({16 * size, longest, most})) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(size));
    file.read_at(bytes, offset);
    try {
      const ParquetPage page = parse_page(what, bytes);
      if (page.packed_bytes > most - page.header_bytes)
        fail("{}: is damaged: a page of {} bytes has room for {}", what, page.packed_bytes, most - page.header_bytes);
      return page;
    } catch (const Error&) {
      if (size == most || size == longest) throw;
    }
  }
}

}  // namespace couplet
