#include "storage/tables/row_shard_writer.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/files/hash.h"
#include "storage/formats/hdf5_access.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <set>

static_assert(std::endian::native == std::endian::little, "row shards are written as little-endian memory");

namespace couplet {
namespace {

constexpr std::uint64_t largest_file = std::uint64_t{1} << 62;
constexpr std::size_t largest_meaning = 1000;
/// More than HDF5 needs for a data set's metadata, or for a text beside the text itself.
constexpr std::uint64_t metadata_allowance = 16 * 1024;

/// How far one column has been written.
struct ColumnState {
  std::uint64_t offset = 0;           ///< of its data set in the file
  std::uint64_t bytes = 0;            ///< of its data set
  std::uint64_t checksum_offset = 0;  ///< of its blocks' checksums in the file
  std::uint64_t row_checksum_offset = 0;
  std::int64_t rows = 0;  ///< written so far
  BlockHash block;        ///< of the rows of the block begun
  std::vector<std::uint64_t> checksums, row_checksums;
};

/// The text of a JSON attribute. What readers would not take is an error before it is written.
std::string json_text(const std::filesystem::path& path, const char* what, const nlohmann::json& value) {
  try {
    const std::string text = value.dump();
    parse_json(text, fmt::format("{}: its {}", path.string(), what), deepest_attribute);
    return text;
  } catch (const nlohmann::json::exception&) {
    fail("{}: its {} holds text that is no UTF-8 and cannot be written as JSON", path.string(), what);
  }
}

void check_header(const std::filesystem::path& path, const ShardHeader& header) {
  if (header.format.empty() || header.format_version < 1 || header.format_version > newest_shard_version) {
    fail("{}: format '{}' version {} cannot be written; this program writes version {}", path.string(), header.format,
         header.format_version, newest_shard_version);
  }
  if (header.first_row < 0 || header.rows < 1 || header.block_rows < 1) {
    fail("{}: a shard of {} rows from row {} in blocks of {} cannot be written; expected positive numbers",
         path.string(), header.rows, header.first_row, header.block_rows);
  }
}

void check_columns(const std::filesystem::path& path, const std::vector<Column>& columns) {
  if (columns.empty()) fail("{}: a shard needs at least one column", path.string());
  std::set<std::string> names;
  for (const Column& column : columns) {
    const bool usable = !column.name.empty() && column.name != "." && column.name != checksum_group &&
                        column.name != row_checksum_group &&
                        column.name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
    if (!usable || !names.insert(column.name).second) {
      fail("{}: '{}' cannot name a column; names are unique, without '/', and not '{}' or '{}'", path.string(),
           column.name, checksum_group, row_checksum_group);
    }
    if (column.meaning.size() > largest_meaning) {
      fail("{}: the meaning of column '{}' has {} bytes; expected one phrase of at most {}", path.string(), column.name,
           column.meaning.size(), largest_meaning);
    }
    if (std::ranges::any_of(column.shape, [](std::int64_t extent) { return extent < 1; })) {
      fail("{}: column '{}' has row shape [{}]; expected positive extents", path.string(), column.name,
           fmt::join(column.shape, ", "));
    }
  }
}

/// Sets the bytes of each data set and returns those of all, with their checksums.
std::uint64_t count_bytes(const std::filesystem::path& path, const ShardHeader& header,
                          const std::vector<Column>& columns, std::vector<ColumnState>& states) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::uint64_t& bytes = states[i].bytes;
    const std::uint64_t checksum_bytes =
        static_cast<std::uint64_t>(block_count(header) + (has_row_checksums(header) ? header.rows : 0)) *
        sizeof(std::uint64_t);
    if (__builtin_mul_overflow(columns[i].row_bytes(), static_cast<std::uint64_t>(header.rows), &bytes) ||
        __builtin_add_overflow(total, bytes + checksum_bytes, &total) || total > largest_file) {
      fail("{}: {} rows of column '{}' with {} bytes each do not fit in a file", path.string(), header.rows,
           columns[i].name, columns[i].row_bytes());
    }
  }
  return total;
}

/// A file in memory in which HDF5 builds the shard's metadata around data sets that stay empty there. The library
/// breaks down when a file cannot be written (1.10 ends the process when it closes one), so it never touches the disk.
class MetadataFile {
public:
  MetadataFile() : file_("the metadata in memory", ::memfd_create("row shard", MFD_CLOEXEC)) {
    if (file_.descriptor() < 0) fail("cannot make a file in memory: {}", errno_text(errno));
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", file_.descriptor()); }
  const FileHandle& file() const { return file_; }
  /// The driver over stdio: the one over system calls looks for the file's name in a folder, and it has none.
  static H5::FileAccPropList access() {
    H5::FileAccPropList access = shard_file_access();
    access.setStdio();
    return access;
  }

private:
  FileHandle file_;
};

/// Object times off, so that equal rows give equal bytes.
template <class List>
List without_times(List list) {
  checked(H5Pset_obj_track_times(list.getId(), false), "H5Pset_obj_track_times");
  return list;
}

/// The root group remembers the order of the columns. All attributes stay in its header.
H5::FileCreatPropList file_creation() {
  auto list = without_times(H5::FileCreatPropList());
  checked(H5Pset_link_creation_order(list.getId(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
          "H5Pset_link_creation_order");
  checked(H5Pset_attr_phase_change(list.getId(), 32, 16), "H5Pset_attr_phase_change");
  return list;
}

/// Contiguous, its space reserved at once and never filled: only its place in the file is used later.
H5::DataSet create_data_set(const H5::Group& group, const std::string& name, const H5::DataType& type,
                            const std::vector<hsize_t>& extents) {
  auto creation = without_times(H5::DSetCreatPropList());
  creation.setLayout(H5D_CONTIGUOUS);
  creation.setAllocTime(H5D_ALLOC_TIME_EARLY);
  creation.setFillTime(H5D_FILL_TIME_NEVER);
  return group.createDataSet(name, type, H5::DataSpace(static_cast<int>(extents.size()), extents.data()), creation);
}

H5::Group create_group(const H5::H5File& file, const char* name) {
  const auto creation = without_times(H5::PropList(H5P_GROUP_CREATE));
  const Hdf5Handle group(H5Gcreate2(file.getId(), name, H5P_DEFAULT, creation.getId(), H5P_DEFAULT), "H5Gcreate2");
  return file.openGroup(name);
}

/// HDF5 checksums no attribute of 64 KiB or more: long texts bring a hash of their own.
void write_guarded_text(const H5::Group& root, const std::string& name, const std::string& text) {
  write_attribute(root, name, text);
  write_attribute(root, name + "_hash", hash_text(text));
}

void write_root_attributes(const H5::Group& root, const ShardHeader& header, const std::string& provenance) {
  write_attribute(root, "format", header.format);
  write_attribute(root, "format_version", header.format_version);
  write_attribute(root, "program_version", std::string(COUPLET_VERSION));
  write_attribute(root, "first_row", header.first_row);
  write_attribute(root, "rows", header.rows);
  write_attribute(root, "block_rows", header.block_rows);
  write_guarded_text(root, "provenance", provenance);
}

/// Makes a file with everything but rows, checksums and summary, and notes where in it those belong.
void lay_out(const std::string& path, const ShardHeader& header, const std::string& provenance,
             const std::vector<Column>& columns, std::vector<ColumnState>& states) {
  H5::H5File file(path, H5F_ACC_TRUNC, file_creation(), MetadataFile::access());
  const H5::Group root = file.openGroup("/");
  write_root_attributes(root, header, provenance);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    std::vector<hsize_t> extents{static_cast<hsize_t>(header.rows)};
    for (const std::int64_t extent : columns[i].shape) extents.push_back(static_cast<hsize_t>(extent));
    const H5::DataSet set = create_data_set(root, columns[i].name, hdf5_type(columns[i].type), extents);
    write_attribute(set, "meaning", columns[i].meaning);
    states[i].offset = set.getOffset();
  }
  const auto add_checksums = [&](const char* group_name, std::int64_t count, const char* of_what,
                                 std::uint64_t ColumnState::*offset) {
    const H5::Group group = create_group(file, group_name);
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const H5::DataSet set =
          create_data_set(group, columns[i].name, H5::PredType::STD_U64LE, {static_cast<hsize_t>(count)});
      write_attribute(set, "meaning", fmt::format("XXH3-64 of the bytes of each {} of /{}", of_what, columns[i].name));
      states[i].*offset = set.getOffset();
    }
  };
  add_checksums(checksum_group, block_count(header), "block of rows", &ColumnState::checksum_offset);
  if (has_row_checksums(header))
    add_checksums(row_checksum_group, header.rows, "row", &ColumnState::row_checksum_offset);
  file.close();
}

}  // namespace

struct RowShardWriter::Impl {
  std::filesystem::path path;
  ShardHeader header;
  std::vector<Column> columns;
  std::vector<ColumnState> states;
  MetadataFile metadata;
  FileHandle file;

  void create(const std::string& provenance);
  void hash_rows(std::size_t column, std::span<const std::byte> bytes);
  void end_block(ColumnState& state) const;
  void copy_metadata();
};

/// Makes the file in its full size and finds the places of its data sets.
void RowShardWriter::Impl::create(const std::string& provenance) {
  states.resize(columns.size());
  const std::uint64_t data_bytes = count_bytes(path, header, columns, states);
  file = FileHandle::create(path);
  // A file size that the system does not allow shows here, before HDF5 meets it.
  file.resize(data_bytes + provenance.size() + (2 * columns.size() + 4) * metadata_allowance);
  with_hdf5(path, "lay out the shard", [&] { lay_out(metadata.path(), header, provenance, columns, states); });
  file.resize(metadata.file().size());
}

/// Puts HDF5's metadata, which is all that lies between the data sets, into the file.
void RowShardWriter::Impl::copy_metadata() {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> data;
  for (const ColumnState& state : states) {
    data.emplace_back(state.offset, state.bytes);
    data.emplace_back(state.checksum_offset, state.checksums.size() * sizeof(std::uint64_t));
    data.emplace_back(state.row_checksum_offset, state.row_checksums.size() * sizeof(std::uint64_t));
  }
  data.emplace_back(metadata.file().size(), 0);
  std::ranges::sort(data);
  std::uint64_t done = 0;
  std::vector<std::byte> gap;
  for (const auto& [offset, bytes] : data) {
    gap.resize(offset - done);
    metadata.file().read_at(gap, done);
    file.write_at(gap, done);
    done = offset + bytes;
  }
  file.resize(done);
}

void RowShardWriter::Impl::end_block(ColumnState& state) const {
  state.checksums.push_back(state.block.value());
  state.block.reset();
}

/// Adds whole rows to the running block hashes of a column, and hashes each.
void RowShardWriter::Impl::hash_rows(std::size_t column, std::span<const std::byte> bytes) {
  ColumnState& state = states[column];
  const std::size_t row_bytes = columns[column].row_bytes();
  while (!bytes.empty()) {
    const auto left_in_block = static_cast<std::size_t>(header.block_rows - state.rows % header.block_rows);
    const std::size_t rows = std::min(left_in_block, bytes.size() / row_bytes);
    state.block.add(bytes.first(rows * row_bytes));
    for (std::size_t i = 0; has_row_checksums(header) && i < rows; ++i)
      state.row_checksums.push_back(hash_bytes(bytes.subspan(i * row_bytes, row_bytes)));
    state.rows += static_cast<std::int64_t>(rows);
    bytes = bytes.subspan(rows * row_bytes);
    if (state.rows % header.block_rows == 0 || state.rows == header.rows) end_block(state);
  }
}

RowShardWriter::RowShardWriter(const std::filesystem::path& path, ShardHeader header, std::vector<Column> columns)
    : impl_(std::make_unique<Impl>()) {
  check_header(path, header);
  check_columns(path, columns);
  const std::string provenance = json_text(path, "provenance", header.provenance);
  impl_->path = path;
  impl_->header = std::move(header);
  impl_->columns = std::move(columns);
  impl_->create(provenance);
}

RowShardWriter::~RowShardWriter() = default;

void RowShardWriter::write(std::size_t column, std::int64_t first, std::span<const std::byte> bytes) {
  Impl& shard = *impl_;
  if (column >= shard.columns.size()) fail("{}: has no column number {}", shard.path.string(), column);
  const std::string& name = shard.columns[column].name;
  const std::size_t row_bytes = shard.columns[column].row_bytes();
  ColumnState& state = shard.states[column];
  const auto rows = static_cast<std::int64_t>(bytes.size() / row_bytes);
  if (bytes.size() % row_bytes != 0) {
    fail("{}: column '{}' was given {} bytes, which are no whole rows of {} bytes", shard.path.string(), name,
         bytes.size(), row_bytes);
  }
  if (first != state.rows || rows > shard.header.rows - first) {
    fail("{}: column '{}' was given rows {} to {}; expected rows from {} on and at most {} in all", shard.path.string(),
         name, first, first + rows, state.rows, shard.header.rows);
  }
  shard.file.write_at(bytes, state.offset + static_cast<std::uint64_t>(first) * row_bytes);
  shard.hash_rows(column, bytes);
}

void RowShardWriter::finish(const nlohmann::json& summary) {
  Impl& shard = *impl_;
  if (shard.file.descriptor() < 0) fail("{}: was finished already", shard.path.string());
  for (std::size_t i = 0; i < shard.columns.size(); ++i) {
    if (shard.states[i].rows != shard.header.rows) {
      fail("{}: column '{}' was given {} rows of {}: the shard cannot be finished", shard.path.string(),
           shard.columns[i].name, shard.states[i].rows, shard.header.rows);
    }
  }
  const std::string text = json_text(shard.path, "summary", summary);
  for (const ColumnState& state : shard.states) {
    shard.file.write_at(std::as_bytes(std::span(state.checksums)), state.checksum_offset);
    if (!state.row_checksums.empty())
      shard.file.write_at(std::as_bytes(std::span(state.row_checksums)), state.row_checksum_offset);
  }
  shard.file.resize(shard.metadata.file().size() + text.size() + metadata_allowance);
  with_hdf5(shard.path, "store the summary", [&] {
    H5::H5File file(shard.metadata.path(), H5F_ACC_RDWR, H5::FileCreatPropList::DEFAULT, MetadataFile::access());
    write_guarded_text(file.openGroup("/"), "summary", text);
    file.close();
  });
  shard.copy_metadata();
  shard.file.close();
}

}  // namespace couplet
