#include "storage/formats/npz.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/deflate.h"
#include "storage/formats/npy_header.h"
#include "storage/json_text.h"

#include <fmt/ranges.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

static_assert(std::endian::native == std::endian::little, "arrays are read and written as little-endian memory");

namespace couplet {
namespace {

constexpr std::string_view npy_suffix = ".npy";
constexpr std::size_t longest_npy_header = 64 * 1024;
constexpr std::size_t header_alignment = 64;
constexpr zip_uint16_t first_dos_date = 0x21;  // 1980-01-01, the earliest a zip archive can name

std::string zip_error_text(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

/// The bytes of one entry of the archive, in order.
class EntryReader {
public:
  /// Entry `number` of the archive; `what` names it in messages.
  EntryReader(std::string what, zip_t* archive, zip_uint64_t number) : what_(std::move(what)) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(archive, number, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE))
      fail("{}: cannot be found: {}", what_, zip_strerror(archive));
    left_ = stat.size;
    file_ = zip_fopen_index(archive, number, 0);
    if (!file_) fail("{}: cannot be read: {}", what_, zip_strerror(archive));
  }
  ~EntryReader() {
    if (file_) zip_fclose(file_);
  }
  EntryReader(EntryReader&& other) noexcept
      : what_(std::move(other.what_)), left_(other.left_), file_(std::exchange(other.file_, nullptr)) {}

  const std::string& what() const { return what_; }
  std::uint64_t left() const { return left_; }

  void read(std::span<std::byte> out) {
    while (!out.empty()) {
      const zip_int64_t n = zip_fread(file_, out.data(), out.size());
      if (n < 0) fail("{}: is damaged: {}", what_, zip_file_strerror(file_));
      if (n == 0) fail("{}: is truncated: {} bytes are missing", what_, out.size());
      out = out.subspan(static_cast<std::size_t>(n));
      left_ -= static_cast<std::uint64_t>(n);
    }
    // libzip compares the entry's checksum when it finds its end.
    std::byte beyond{};
    if (left_ == 0 && zip_fread(file_, &beyond, 1) != 0) fail("{}: is damaged: {}", what_, zip_file_strerror(file_));
  }

private:
  std::string what_;
  std::uint64_t left_ = 0;
  zip_file_t* file_ = nullptr;
};

/// Refuses entry `number` of an archive if its packed bytes cannot hold those that it claims, before memory is taken
/// for them. Other methods than deflate may pack closer: there, reading it shows what it holds.
void require_held(const std::string& what, zip_t* archive, zip_uint64_t number, std::uint64_t archive_bytes) {
  zip_stat_t stat;
  zip_stat_init(&stat);
  constexpr zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if (zip_stat_index(archive, number, 0, &stat) != 0 || (stat.valid & needed) != needed)
    fail("{}: cannot be found: {}", what, zip_strerror(archive));
  const std::uint64_t packed = std::min<std::uint64_t>(stat.comp_size, archive_bytes);
  if (stat.size <= (stat.comp_method == ZIP_CM_STORE ? packed : most_inflated_bytes(packed))) return;
  if (stat.comp_method == ZIP_CM_STORE || stat.comp_method == ZIP_CM_DEFLATE)
    fail("{}: is damaged: it claims {} bytes, which {} bytes in the archive cannot hold", what, stat.size, packed);
  std::vector<std::byte> piece(std::size_t{1} << 16);
  for (EntryReader entry(what, archive, number); entry.left() > 0;)
    entry.read(std::span(piece).first(std::min<std::uint64_t>(piece.size(), entry.left())));
}

/// The dictionary behind magic, version (1 to 3) and length.
std::string read_header_text(EntryReader& entry) {
  std::array<unsigned char, 8> start{};
  if (entry.left() < 12) fail("{}: is no .npy array: {} bytes", entry.what(), entry.left());
  entry.read(std::as_writable_bytes(std::span(start)));
  const std::string_view magic(reinterpret_cast<const char*>(start.data()), 6);
  if (magic != std::string_view("\x93NUMPY", 6) || start[6] < 1 || start[6] > 3)
    fail("{}: is no .npy array of version 1 to 3", entry.what());
  std::array<unsigned char, 4> digits{};
  entry.read(std::as_writable_bytes(std::span(digits)).first(start[6] == 1 ? 2 : 4));
  const std::size_t length = digits[0] + 256u * (digits[1] + 256u * (digits[2] + 256u * digits[3]));
  if (length > longest_npy_header || length > entry.left())
    fail("{}: has an impossible header of {} bytes", entry.what(), length);
  std::string text(length, '\0');
  entry.read(std::as_writable_bytes(std::span(text)));
  return text;
}

NumberType parse_descriptor(const std::string& what, const std::string& descriptor) {
  const auto is_one_of = [&](std::size_t at, std::string_view letters) {
    return letters.find(descriptor[at]) != std::string_view::npos;
  };
  const bool formed = descriptor.size() == 3 && is_one_of(0, "<|=") && is_one_of(1, "fiub") && is_one_of(2, "1248");
  const NumberType type{formed ? descriptor[1] : ' ', formed ? static_cast<std::size_t>(descriptor[2] - '0') : 0};
  if (!formed || (type.kind == 'f' && type.bytes == 1) || (type.kind == 'b' && type.bytes != 1))
    refuse("{}: has elements of type {}; expected little-endian floats, integers or truth values", what,
           json_excerpt(descriptor));
  return type;
}

NpyHeader read_header(EntryReader& entry) {
  const std::string text = read_header_text(entry);
  const std::optional<NpyHeader> header = parse_npy_header(text);
  if (!header)
    refuse("{}: has the header {}; expected descr, fortran_order and shape of plain numbers", entry.what(),
           json_excerpt(text.substr(0, text.find_last_not_of(" \n") + 1)));
  if (header->fortran_order) refuse("{}: is in Fortran order; save it as numpy.ascontiguousarray(...)", entry.what());
  return *header;
}

class NpyArray : public ForeignArray {
public:
  NpyArray(EntryReader entry, const NpyHeader& header)
      : ForeignArray(entry.what(), parse_descriptor(entry.what(), header.descriptor), header.shape),
        entry_(std::move(entry)) {
    const std::uint64_t bytes = static_cast<std::uint64_t>(rows()) * row_bytes();
    if (bytes != entry_.left())
      fail("{}: {} bytes of values, expected {} for {}", entry_.what(), entry_.left(), bytes, description());
  }

private:
  void read_rows(std::int64_t, std::int64_t, std::span<std::byte> out) override { entry_.read(out); }

  EntryReader entry_;
};

/// The names of an archive's entries, in their order. One that stands twice is refused: readers of archives differ in
/// which of the two they take.
std::vector<std::string> entry_names(const std::filesystem::path& path, zip_t* archive) {
  std::vector<std::string> names;
  std::set<std::string> known;
  const zip_int64_t entries = zip_get_num_entries(archive, 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    const char* name = zip_get_name(archive, static_cast<zip_uint64_t>(i), 0);
    if (!name) fail("{}: has no name for its entry {}: {}", path.string(), i, zip_strerror(archive));
    names.emplace_back(name);
    if (!known.insert(name).second)
      refuse("{}: holds two entries of the name {}; write the archive anew instead of adding to it", path.string(),
             json_excerpt(name));
  }
  return names;
}

class NpzFile : public ForeignFile {
public:
  explicit NpzFile(std::filesystem::path path) : path_(std::move(path)) {
    int code = 0;
    archive_.reset(zip_open(path_.c_str(), ZIP_RDONLY, &code));
    if (!archive_) fail("{}: is no zip archive that can be read: {}", path_.string(), zip_error_text(code));
    entries_ = entry_names(path_, archive_.get());
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const std::string& entry : entries_)
      if (entry.ends_with(npy_suffix)) names.push_back(entry.substr(0, entry.size() - npy_suffix.size()));
    return names;
  }
  std::map<std::string, std::string> others() const override {
    std::map<std::string, std::string> others;
    for (const std::string& entry : entries_)
      if (!entry.ends_with(npy_suffix)) others[entry] = "an entry that is no .npy array";
    return others;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    const std::string what = fmt::format("{}: array '{}'", path_.string(), name);
    const auto found = std::ranges::find(entries_, name + std::string(npy_suffix));
    if (found == entries_.end()) fail("{}: cannot be found", what);
    const auto number = static_cast<zip_uint64_t>(found - entries_.begin());
    require_held(what, archive_.get(), number, std::filesystem::file_size(path_));
    EntryReader entry(what, archive_.get(), number);
    const NpyHeader header = read_header(entry);
    return std::make_unique<NpyArray>(std::move(entry), header);
  }

private:
  struct Discard {
    void operator()(zip_t* archive) const { zip_discard(archive); }
  };

  std::filesystem::path path_;
  std::unique_ptr<zip_t, Discard> archive_;
  std::vector<std::string> entries_;
};

/// "<f2": the type as the header of an .npy array names it.
std::string descriptor(ElementType type) {
  switch (type) {
    case ElementType::uint8:
      return "|u1";
    case ElementType::int32:
      return "<i4";
    case ElementType::int64:
      return "<i8";
    case ElementType::float16:
      return "<f2";
    case ElementType::float32:
      return "<f4";
    case ElementType::float64:
      return "<f8";
    case ElementType::bfloat16:
      break;
  }
  fail("NumPy has no element type {}; write float32", element_name(type));
}

/// Magic, version, length and the dictionary that describes the array, padded to whole lines of 64 bytes.
std::string npy_header(const NpzArray& array) {
  std::vector<std::int64_t> shape{array.rows};
  shape.insert(shape.end(), array.row_shape.begin(), array.row_shape.end());
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descriptor(array.type),
                                 fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  constexpr std::size_t prefix = 10;
  text.resize((prefix + text.size() + 1 + header_alignment - 1) / header_alignment * header_alignment - prefix - 1,
              ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

/// An array as the stream of bytes that libzip asks for.
class ArrayStream {
public:
  explicit ArrayStream(const NpzArray& array) : array_(array), header_(npy_header(array)) {
    row_bytes_ = element_size(array.type);
    for (const std::int64_t extent : array.row_shape) row_bytes_ *= static_cast<std::size_t>(extent);
    zip_error_init(&error_);
  }
  ~ArrayStream() { zip_error_fini(&error_); }
  ArrayStream(const ArrayStream&) = delete;
  ArrayStream& operator=(const ArrayStream&) = delete;

  /// What the callback that `zip_source_function` wants does.
  static zip_int64_t call(void* stream, void* data, zip_uint64_t length, zip_source_cmd_t command) {
    return static_cast<ArrayStream*>(stream)->handle(data, length, command);
  }
  /// Throws what `read` threw, if it did.
  void rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

private:
  zip_int64_t handle(void* data, zip_uint64_t length, zip_source_cmd_t command) {
    switch (command) {
      case ZIP_SOURCE_OPEN:
        next_row_ = 0;
        use(std::as_bytes(std::span(header_)));
        return 0;
      case ZIP_SOURCE_READ:
        return give({static_cast<std::byte*>(data), static_cast<std::size_t>(length)});
      case ZIP_SOURCE_STAT:
        return state_size(*static_cast<zip_stat_t*>(data));
      case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&error_, data, length);
      case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
      case ZIP_SOURCE_CLOSE:
      case ZIP_SOURCE_FREE:
        return 0;
      default:
        zip_error_set(&error_, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
  }

  zip_int64_t state_size(zip_stat_t& stat) const {
    zip_stat_init(&stat);
    stat.size = header_.size() + static_cast<zip_uint64_t>(array_.rows) * row_bytes_;
    stat.valid = ZIP_STAT_SIZE;
    return sizeof stat;
  }

  void use(std::span<const std::byte> bytes) {
    piece_.assign(bytes.begin(), bytes.end());
    given_ = 0;
  }

  /// The next bytes; none at the end. libzip is C: an exception waits here until it has returned.
  zip_int64_t give(std::span<std::byte> out) {
    try {
      if (given_ == piece_.size()) read_piece();
    } catch (...) {
      thrown_ = std::current_exception();
      zip_error_set(&error_, ZIP_ER_READ, 0);
      return -1;
    }
    const std::size_t count = std::min(out.size(), piece_.size() - given_);
    std::memcpy(out.data(), piece_.data() + given_, count);
    given_ += count;
    return static_cast<zip_int64_t>(count);
  }

  void read_piece() {
    const std::int64_t count = std::min(std::max<std::int64_t>(1, array_.rows_at_once), array_.rows - next_row_);
    piece_.resize(static_cast<std::size_t>(count) * row_bytes_);
    given_ = 0;
    if (count > 0) array_.read(next_row_, count, piece_);
    next_row_ += count;
  }

  const NpzArray& array_;
  std::string header_;
  std::size_t row_bytes_ = 0;
  std::int64_t next_row_ = 0;
  std::vector<std::byte> piece_;
  std::size_t given_ = 0;  ///< bytes of the piece that libzip has
  zip_error_t error_;
  std::exception_ptr thrown_;
};

/// An archive being written; thrown away unless it was closed.
class Archive {
public:
  explicit Archive(const std::filesystem::path& path) {
    int code = 0;
    archive_ = zip_open(path.c_str(), ZIP_CREATE | ZIP_EXCL, &code);
    if (archive_) return;
    fail("{}: cannot be written: {}", path.string(), zip_error_text(code));
  }
  ~Archive() {
    if (archive_) zip_discard(archive_);
  }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  void add(const std::string& name, ArrayStream& stream) {
    zip_source_t* source = zip_source_function(archive_, &ArrayStream::call, &stream);
    if (!source) fail("{}: cannot be added: {}", name, zip_strerror(archive_));
    const zip_int64_t index = zip_file_add(archive_, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      fail("{}: cannot be added: {}", name, zip_strerror(archive_));
    }
    const auto entry = static_cast<zip_uint64_t>(index);
    if (zip_set_file_compression(archive_, entry, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive_, entry, 0, first_dos_date, 0) != 0) {
      fail("{}: cannot be added: {}", name, zip_strerror(archive_));
    }
  }
  /// Writes everything. Empty if it worked, else the reason.
  std::string close() {
    if (zip_close(archive_) != 0) return zip_strerror(archive_);
    archive_ = nullptr;
    return {};
  }

private:
  zip_t* archive_ = nullptr;
};

}  // namespace

std::unique_ptr<ForeignFile> open_npz(const std::filesystem::path& path) {
  return std::make_unique<NpzFile>(path);
}

void write_npz(const std::filesystem::path& path, const std::vector<NpzArray>& arrays) {
  Pending pending(path);
  std::vector<std::unique_ptr<ArrayStream>> streams;  // outlive the archive
  {
    Archive archive(pending.path());
    for (const NpzArray& array : arrays) {
      streams.push_back(std::make_unique<ArrayStream>(array));
      archive.add(array.name + std::string(npy_suffix), *streams.back());
    }
    const std::string reason = archive.close();
    for (const auto& stream : streams) stream->rethrow();
    if (!reason.empty()) fail("{}: cannot be written: {}", path.string(), reason);
  }
  pending.commit();
}

}  // namespace couplet
