#include "storage/tables/row_shard.h"

#include "storage/error.h"
#include "storage/files/file_counts.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/formats/hdf5_access.h"
#include "storage/formats/hdf5_rehearsal.h"
#include "storage/json_text.h"
#include "storage/tables/shard_superblock.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <functional>
#include <numeric>

static_assert(std::endian::native == std::endian::little, "row shards are read as little-endian memory");

namespace couplet {
namespace {

/// Read and hashed piece by piece, so that the hash finds the bytes still in the processor's cache.
constexpr std::size_t piece_bytes = std::size_t{1} << 18;

/// Smaller rows are read together and then moved: a system call's list of places is not free.
constexpr std::size_t smallest_scattered_row = 1024;

/// Rows that are this many bytes apart, or fewer, are read together, with what lies between: less than a call costs.
constexpr std::size_t largest_gap = 64;

/// Where the rows and checksums of a column lie in the file.
struct ColumnPlace {
  std::uint64_t offset = 0;
  std::vector<std::uint64_t> checksums;    ///< of the blocks
  std::uint64_t row_checksums_offset = 0;  ///< in the file, if the shard has any
};

/// A JSON attribute of the root group, checked against the hash that stands beside it.
nlohmann::json read_guarded_json(const std::filesystem::path& path, const H5::Group& root, const std::string& owner,
                                 const std::string& name) {
  const std::string text = read_text_attribute(path, root, owner, name);
  const std::string expected = read_text_attribute(path, root, owner, name + "_hash");
  if (hash_text(text) != expected) {
    fail("{}: attribute '{}' is damaged: hash {}, expected {}; delete the shard and make or fetch it again",
         path.string(), name, hash_text(text), expected);
  }
  return parse_json(text, fmt::format("{}: attribute '{}'", path.string(), name), deepest_attribute);
}

}  // namespace

struct RowShard::Impl {
  std::filesystem::path path;
  bool verify = true;
  FileHandle file;
  std::uint64_t file_bytes = 0;
  ShardHeader header;
  nlohmann::json summary;
  std::vector<Column> columns;
  std::vector<ColumnPlace> places;

  void load(const std::string& expected_format);
  void load_header(const H5::Group& root, const std::string& expected_format);
  void load_column(const H5::H5File& hdf5, const std::string& name);
  std::uint64_t locate(const H5::DataSet& set, const std::string& name, std::uint64_t bytes) const;
  std::uint64_t locate_checksums(const H5::H5File& hdf5, const char* group, const std::string& name,
                                 std::int64_t count) const;
  std::vector<std::string> column_names(const H5::Group& root) const;
  std::pair<std::int64_t, std::int64_t> block_range(std::int64_t block) const;
  std::uint64_t row_offset(std::size_t column, std::int64_t row) const;
  void check_range(std::size_t column, std::int64_t first, std::int64_t count) const;
  void check_block(std::size_t column, std::int64_t block, std::uint64_t found) const;
  void read_block(std::size_t column, std::int64_t block, std::span<std::byte> out) const;
  void read_part(std::size_t column, std::int64_t first, std::span<std::byte> out) const;
  template <class Use>
  void for_each_row(std::uint64_t start, std::size_t row_bytes, std::span<const std::int64_t> numbers, Use use) const;
  void check_rows(std::size_t column, std::span<const std::int64_t> numbers,
                  const std::function<std::span<const std::byte>(std::size_t)>& row) const;
  void scatter_block(std::size_t column, std::int64_t block, std::span<std::byte* const> places) const;
  void gather_part(std::size_t column, std::int64_t block, std::span<const std::int64_t> numbers,
                   std::span<std::byte* const> places) const;
  const std::byte* whole_block(std::size_t column, std::int64_t block) const;
  template <class Work>
  void for_each_block(std::int64_t first, std::int64_t count, Work work) const;
};

void RowShard::Impl::load_header(const H5::Group& root, const std::string& expected_format) {
  const std::string owner = "the root group";
  header.format = read_text_attribute(path, root, owner, "format");
  if (expected_format.empty() ? !header.format.starts_with("couplet-") : header.format != expected_format) {
    fail("{}: has format '{}', expected '{}'", path.string(), header.format,
         expected_format.empty() ? "couplet-..." : expected_format);
  }
  const std::int64_t version = read_integer_attribute(path, root, owner, "format_version");
  if (version < 1 || version > newest_shard_version) {
    fail(
        "{}: has format version {} (written by Couplet {}), but this is Couplet {}, which reads up to version {}; "
        "use a newer Couplet",
        path.string(), version, read_text_attribute(path, root, owner, "program_version"), COUPLET_VERSION,
        newest_shard_version);
  }
  header.format_version = static_cast<int>(version);
  header.first_row = read_integer_attribute(path, root, owner, "first_row");
  header.rows = read_integer_attribute(path, root, owner, "rows");
  header.block_rows = read_integer_attribute(path, root, owner, "block_rows");
  if (header.first_row < 0 || header.rows < 1 || header.block_rows < 1) {
    fail("{}: claims {} rows from row {} in blocks of {}; expected positive numbers", path.string(), header.rows,
         header.first_row, header.block_rows);
  }
  header.provenance = read_guarded_json(path, root, owner, "provenance");
  summary = read_guarded_json(path, root, owner, "summary");
}

/// The index that lists the columns in the order in which they were made, where the file keeps it.
H5_index_t column_index(const H5::Group& root) {
  unsigned order = 0;
  const Hdf5Handle creation(H5Gget_create_plist(root.getId()), "H5Gget_create_plist");
  checked(H5Pget_link_creation_order(creation.id(), &order), "H5Pget_link_creation_order");
  return order & H5P_CRT_ORDER_INDEXED ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
}

/// Names of the root's data sets, in the order of their index.
std::vector<std::string> RowShard::Impl::column_names(const H5::Group& root) const {
  const H5_index_t index = column_index(root);
  std::vector<std::string> names;
  for (hsize_t i = 0; i < root.getNumObjs(); ++i) {
    H5L_info_t link;
    checked(H5Lget_info_by_idx(root.getId(), ".", index, H5_ITER_INC, i, &link, H5P_DEFAULT), "H5Lget_info_by_idx");
    const std::string name = link_name(root, index, i);
    if (link.type != H5L_TYPE_HARD) fail("{}: '{}' is a link to elsewhere, expected a data set", path.string(), name);
    if (name != checksum_group && !(has_row_checksums(header) && name == row_checksum_group)) names.push_back(name);
  }
  if (names.empty()) fail("{}: holds no columns", path.string());
  return names;
}

/// The file offset of a data set that must be contiguous, whole inside the file, and of `bytes` bytes.
std::uint64_t RowShard::Impl::locate(const H5::DataSet& set, const std::string& name, std::uint64_t bytes) const {
  const H5::DSetCreatPropList creation = set.getCreatePlist();
  if (creation.getLayout() != H5D_CONTIGUOUS || creation.getExternalCount() != 0) {
    fail("{}: data set '{}' is chunked, compact or external; expected a contiguous one", path.string(), name);
  }
  const haddr_t offset = H5Dget_offset(set.getId());
  std::uint64_t end = 0;
  if (offset == HADDR_UNDEF || __builtin_add_overflow(offset, bytes, &end) || end > file_bytes) {
    fail("{}: data set '{}' of {} bytes does not lie inside the file of {} bytes", path.string(), name, bytes,
         file_bytes);
  }
  return offset;
}

std::vector<hsize_t> extents_of(const H5::DataSet& set) {
  const H5::DataSpace space = set.getSpace();
  std::vector<hsize_t> extents(static_cast<std::size_t>(std::max(space.getSimpleExtentNdims(), 0)));
  if (!extents.empty()) space.getSimpleExtentDims(extents.data());
  return extents;
}

/// The file offset of a column's checksums of one kind.
std::uint64_t RowShard::Impl::locate_checksums(const H5::H5File& hdf5, const char* group, const std::string& column,
                                               std::int64_t count) const {
  const std::string name = fmt::format("{}/{}", group, column);
  if (!hdf5.nameExists(group) || !hdf5.nameExists(name)) fail("{}: data set '{}' is missing", path.string(), name);
  const H5::DataSet set = hdf5.openDataSet(name);
  const auto extent = static_cast<hsize_t>(count);
  if (extents_of(set) != std::vector<hsize_t>{extent} || set.getDataType() != H5::PredType::STD_U64LE) {
    fail("{}: data set '{}' has shape [{}], expected [{}] of uint64", path.string(), name,
         fmt::join(extents_of(set), ", "), extent);
  }
  return locate(set, name, extent * sizeof(std::uint64_t));
}

void RowShard::Impl::load_column(const H5::H5File& hdf5, const std::string& name) {
  if (hdf5.childObjType(name) != H5O_TYPE_DATASET) fail("{}: '{}' is no data set", path.string(), name);
  const H5::DataSet set = hdf5.openDataSet(name);
  const std::vector<hsize_t> extents = extents_of(set);
  if (extents.empty() || extents[0] != static_cast<hsize_t>(header.rows)) {
    fail("{}: data set '{}' has shape [{}], expected {} rows first", path.string(), name, fmt::join(extents, ", "),
         header.rows);
  }
  const auto type = element_type_of(set.getDataType());
  if (!type) {
    fail(
        "{}: data set '{}' has an element type that is not read; expected little-endian uint8, int32, int64, float16, "
        "float32 or float64",
        path.string(), name);
  }
  std::uint64_t bytes = element_size(*type);
  for (const hsize_t extent : extents) {
    if (extent == 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      fail("{}: data set '{}' has the impossible shape [{}]", path.string(), name, fmt::join(extents, ", "));
    }
  }
  ColumnPlace place;
  place.offset = locate(set, name, bytes);
  place.checksums.resize(static_cast<std::size_t>(block_count(header)));
  file.read_at(std::as_writable_bytes(std::span(place.checksums)),
               locate_checksums(hdf5, checksum_group, name, block_count(header)));
  if (has_row_checksums(header))
    place.row_checksums_offset = locate_checksums(hdf5, row_checksum_group, name, header.rows);
  columns.push_back(
      {name, *type, {extents.begin() + 1, extents.end()}, read_text_attribute(path, set, name, "meaning")});
  places.push_back(std::move(place));
}

void RowShard::Impl::load(const std::string& expected_format) {
  const H5::H5File hdf5(path.string(), H5F_ACC_RDONLY, H5::FileCreatPropList::DEFAULT, shard_file_access());
  count_open();
  // The rows are read through the very file that HDF5 opened, even if another is renamed over it meanwhile.
  void* handle = nullptr;
  hdf5.getVFDHandle(&handle);
  const int descriptor = ::fcntl(*static_cast<int*>(handle), F_DUPFD_CLOEXEC, 0);
  if (descriptor < 0) fail("{}: cannot open to read: {}", path.string(), errno_text(errno));
  file = FileHandle(path, descriptor);
  file_bytes = file.size();
  const H5::Group root = hdf5.openGroup("/");
  load_header(root, expected_format);
  for (const std::string& name : column_names(root)) load_column(hdf5, name);
}

/// First row and number of rows of a block.
std::pair<std::int64_t, std::int64_t> RowShard::Impl::block_range(std::int64_t block) const {
  const std::int64_t first = block * header.block_rows;
  return {first, std::min(header.block_rows, header.rows - first)};
}

std::uint64_t RowShard::Impl::row_offset(std::size_t column, std::int64_t row) const {
  return places[column].offset + static_cast<std::uint64_t>(row) * columns[column].row_bytes();
}

void RowShard::Impl::check_block(std::size_t column, std::int64_t block, std::uint64_t found) const {
  const std::uint64_t expected = places[column].checksums[static_cast<std::size_t>(block)];
  if (found == expected) return;
  const auto [first, rows] = block_range(block);
  fail(
      "{}: column '{}' is damaged in rows {} to {} (block {}): checksum {:016x}, expected {:016x}; "
      "delete the shard and make or fetch it again",
      path.string(), columns[column].name, first, first + rows - 1, block, found, expected);
}

/// Reads a whole block into `out` and checks it.
void RowShard::Impl::read_block(std::size_t column, std::int64_t block, std::span<std::byte> out) const {
  thread_local BlockHash hash;
  hash.reset();
  const std::uint64_t offset = row_offset(column, block_range(block).first);
  for (std::size_t done = 0; done < out.size();) {
    const auto piece = out.subspan(done, std::min(piece_bytes, out.size() - done));
    file.read_at(piece, offset + done);
    hash.add(piece);
    done += piece.size();
  }
  check_block(column, block, hash.value());
}

/// Calls use(i, bytes) with each row numbers[i], which ascend, of a data set that starts at byte `start` of the file.
template <class Use>
void RowShard::Impl::for_each_row(std::uint64_t start, std::size_t row_bytes, std::span<const std::int64_t> numbers,
                                  Use use) const {
  thread_local std::vector<std::byte> together;
  for (std::size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    const auto bytes_to = [&](std::size_t row) {
      return static_cast<std::size_t>(numbers[row] - numbers[begin] + 1) * row_bytes;
    };
    for (end = begin + 1; end < numbers.size(); ++end) {
      const std::size_t gap = static_cast<std::size_t>(numbers[end] - numbers[end - 1] - 1) * row_bytes;
      if (gap > largest_gap || bytes_to(end) > piece_bytes) break;
    }
    together.resize(bytes_to(end - 1));
    file.read_at(together, start + static_cast<std::uint64_t>(numbers[begin]) * row_bytes);
    for (std::size_t i = begin; i < end; ++i)
      use(i, std::span<const std::byte>(together).subspan(bytes_to(i) - row_bytes, row_bytes));
  }
}

/// Compares rows, of which row(i) has number numbers[i], with their stored checksums.
void RowShard::Impl::check_rows(std::size_t column, std::span<const std::int64_t> numbers,
                                const std::function<std::span<const std::byte>(std::size_t)>& row) const {
  for_each_row(places[column].row_checksums_offset, sizeof(std::uint64_t), numbers,
               [&](std::size_t i, std::span<const std::byte> stored) {
                 std::uint64_t expected = 0;
                 std::memcpy(&expected, stored.data(), sizeof expected);
                 const std::uint64_t found = hash_bytes(row(i));
                 if (found == expected) return;
                 fail(
                     "{}: column '{}' is damaged in row {}, or that row's checksum is: checksum {:016x}, expected "
                     "{:016x}; delete the shard and make or fetch it again",
                     path.string(), columns[column].name, numbers[i], found, expected);
               });
}

/// Reads and checks a block, which stays until the thread calls this again.
const std::byte* RowShard::Impl::whole_block(std::size_t column, std::int64_t block) const {
  thread_local std::vector<std::byte> bytes;
  bytes.resize(static_cast<std::size_t>(block_range(block).second) * columns[column].row_bytes());
  read_block(column, block, bytes);
  return bytes.data();
}

/// Reads rows of one block into `out`, which has exactly their size.
void RowShard::Impl::read_part(std::size_t column, std::int64_t first, std::span<std::byte> out) const {
  const std::size_t row_bytes = columns[column].row_bytes();
  const std::int64_t block = first / header.block_rows;
  const auto [block_first, block_rows] = block_range(block);
  if (verify && out.size() == static_cast<std::size_t>(block_rows) * row_bytes) {
    read_block(column, block, out);
    return;
  }
  if (verify && !has_row_checksums(header)) {
    const std::byte* bytes = whole_block(column, block);
    std::memcpy(out.data(), bytes + static_cast<std::size_t>(first - block_first) * row_bytes, out.size());
    return;
  }
  file.read_at(out, row_offset(column, first));
  if (!verify) return;
  std::vector<std::int64_t> numbers(out.size() / row_bytes);
  std::iota(numbers.begin(), numbers.end(), first);
  check_rows(column, numbers, [&](std::size_t i) { return out.subspan(i * row_bytes, row_bytes); });
}

/// Reads all rows of a block, which are large, each straight to its place.
void RowShard::Impl::scatter_block(std::size_t column, std::int64_t block, std::span<std::byte* const> rows) const {
  thread_local BlockHash hash;
  hash.reset();
  const std::size_t row_bytes = columns[column].row_bytes();
  const std::size_t rows_at_once = std::max<std::size_t>(1, piece_bytes / row_bytes);
  std::array<iovec, piece_bytes / smallest_scattered_row> parts;
  std::uint64_t offset = row_offset(column, block_range(block).first);
  for (std::size_t done = 0; done < rows.size();) {
    const auto some = rows.subspan(done, std::min(rows_at_once, rows.size() - done));
    for (std::size_t i = 0; i < some.size(); ++i) parts[i] = {some[i], row_bytes};
    file.read_parts(std::span(parts).first(some.size()), offset);
    if (verify)
      for (const std::byte* row : some) hash.add({row, row_bytes});
    offset += some.size() * row_bytes;
    done += some.size();
  }
  if (verify) check_block(column, block, hash.value());
}

/// Reads rows of one block, each to its place.
void RowShard::Impl::gather_part(std::size_t column, std::int64_t block, std::span<const std::int64_t> numbers,
                                 std::span<std::byte* const> to) const {
  const std::size_t row_bytes = columns[column].row_bytes();
  const auto [block_first, block_rows] = block_range(block);
  const bool whole = std::ssize(numbers) == block_rows;
  if (whole && row_bytes >= smallest_scattered_row) {
    scatter_block(column, block, to);
  } else if (verify && (whole || !has_row_checksums(header))) {
    const std::byte* bytes = whole_block(column, block);
    for (std::size_t i = 0; i < to.size(); ++i)
      std::memcpy(to[i], bytes + static_cast<std::size_t>(numbers[i] - block_first) * row_bytes, row_bytes);
  } else {
    for_each_row(places[column].offset, row_bytes, numbers,
                 [&](std::size_t i, std::span<const std::byte> row) { std::memcpy(to[i], row.data(), row_bytes); });
    if (verify) check_rows(column, numbers, [&](std::size_t i) { return std::span(to[i], row_bytes); });
  }
}

/// Calls work(first row, rows) for each part of rows [first, first + count) that lies in one block.
template <class Work>
void RowShard::Impl::for_each_block(std::int64_t first, std::int64_t count, Work work) const {
  for (std::int64_t row = first; row < first + count;) {
    const std::int64_t block = row / header.block_rows;
    const auto [block_first, block_rows] = block_range(block);
    const std::int64_t rows = std::min(first + count, block_first + block_rows) - row;
    work(row, rows);
    row += rows;
  }
}

void RowShard::Impl::check_range(std::size_t column, std::int64_t first, std::int64_t count) const {
  if (column >= columns.size()) fail("{}: has no column number {}", path.string(), column);
  if (first < 0 || count < 0 || count > header.rows - first) {
    fail("{}: column '{}': cannot read {} rows from row {}; it has {} rows", path.string(), columns[column].name, count,
         first, header.rows);
  }
}

RowShard::RowShard(const std::filesystem::path& path, const std::string& expected_format, bool verify)
    : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->verify = verify;
  check_superblock(path);
  with_hdf5(path, "read the shard's metadata", [&] { impl_->load(expected_format); });
}

RowShard::~RowShard() = default;
RowShard::RowShard(RowShard&&) noexcept = default;
RowShard& RowShard::operator=(RowShard&&) noexcept = default;

RowShard open_foreign_shard(const std::filesystem::path& path, const std::string& expected_format) {
  check_superblock(path);
  static Rehearsal opening("read the shard's metadata", [](const std::filesystem::path& file) { RowShard{file, ""}; });
  opening.try_on(path);
  return RowShard(path, expected_format);
}

const std::filesystem::path& RowShard::path() const {
  return impl_->path;
}
const ShardHeader& RowShard::header() const {
  return impl_->header;
}
const nlohmann::json& RowShard::summary() const {
  return impl_->summary;
}
const std::vector<Column>& RowShard::columns() const {
  return impl_->columns;
}

std::uint64_t RowShard::offset(std::size_t column) const {
  return impl_->places.at(column).offset;
}
std::span<const std::uint64_t> RowShard::checksums(std::size_t column) const {
  return impl_->places.at(column).checksums;
}
const FileHandle& RowShard::file() const {
  return impl_->file;
}

std::size_t RowShard::column(const std::string& name) const {
  std::string known;
  for (std::size_t i = 0; i < impl_->columns.size(); ++i) {
    if (impl_->columns[i].name == name) return i;
    known += (i ? ", " : "") + impl_->columns[i].name;
  }
  fail("{}: has no column '{}'; its columns are {}", impl_->path.string(), name, known);
}

void RowShard::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  const Impl& shard = *impl_;
  shard.check_range(column, first, count);
  const std::size_t row_bytes = shard.columns[column].row_bytes();
  if (out.size() != static_cast<std::size_t>(count) * row_bytes) {
    fail("{}: column '{}': cannot read {} rows of {} bytes into {} bytes", shard.path.string(),
         shard.columns[column].name, count, row_bytes, out.size());
  }
  shard.for_each_block(first, count, [&](std::int64_t row, std::int64_t rows) {
    shard.read_part(
        column, row,
        out.subspan(static_cast<std::size_t>(row - first) * row_bytes, static_cast<std::size_t>(rows) * row_bytes));
  });
}

void RowShard::gather(std::size_t column, std::span<const std::int64_t> numbers,
                      std::span<std::byte* const> places) const {
  const Impl& shard = *impl_;
  if (numbers.empty()) return;
  shard.check_range(column, numbers.front(), numbers.back() - numbers.front() + 1);
  for (std::size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    const std::int64_t block = numbers[begin] / shard.header.block_rows;
    while (end < numbers.size() && numbers[end] / shard.header.block_rows == block) ++end;
    shard.gather_part(column, block, numbers.subspan(begin, end - begin), places.subspan(begin, end - begin));
  }
}

std::vector<std::uint64_t> RowShard::row_checksums(std::size_t column, std::int64_t first, std::int64_t count) const {
  const Impl& shard = *impl_;
  shard.check_range(column, first, count);
  std::vector<std::uint64_t> checksums;
  if (!has_row_checksums(shard.header)) return checksums;
  checksums.resize(static_cast<std::size_t>(count));
  shard.file.read_at(
      std::as_writable_bytes(std::span(checksums)),
      shard.places[column].row_checksums_offset + static_cast<std::uint64_t>(first) * sizeof(std::uint64_t));
  return checksums;
}

}  // namespace couplet
