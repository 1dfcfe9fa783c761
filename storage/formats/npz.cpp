#include "storage/formats/npz.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <fmt/ranges.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <exception>
#include <regex>
#include <string_view>
#include <utility>

static_assert(std::endian::native == std::endian::little, "arrays are read and written as little-endian memory");

namespace couplet {
namespace {

constexpr std::string_view suffix = ".npy";
constexpr std::size_t longest_header = 64 * 1024;
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
  EntryReader(const std::filesystem::path& path, zip_t* archive, const std::string& name)
      : what_(fmt::format("{}: array '{}'", path.string(), name)) {
    const std::string entry = name + std::string(suffix);
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat(archive, entry.c_str(), 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE))
      fail("{}: cannot be found: {}", what_, zip_strerror(archive));
    left_ = stat.size;
    file_ = zip_fopen(archive, entry.c_str(), 0);
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

/// What an .npy header says.
struct NpyHeader {
  NumberType type;
  std::vector<std::int64_t> shape;
};

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
  if (length > longest_header || length > entry.left())
    fail("{}: has an impossible header of {} bytes", entry.what(), length);
  std::string text(length, '\0');
  entry.read(std::as_writable_bytes(std::span(text)));
  return text;
}

NumberType parse_descriptor(const EntryReader& entry, const std::string& descriptor) {
  static const std::regex form("([<|=])([fiub])([1248])");
  std::smatch match;
  const bool matched = std::regex_match(descriptor, match, form);
  const NumberType type{matched ? *match[2].first : ' ', matched ? static_cast<std::size_t>(*match[3].first - '0') : 0};
  if (!matched || (type.kind == 'f' && type.bytes == 1) || (type.kind == 'b' && type.bytes != 1))
    fail("{}: has elements of type '{}'; expected little-endian floats, integers or truth values", entry.what(),
         descriptor);
  return type;
}

NpyHeader parse_header(EntryReader& entry) {
  const std::string text = read_header_text(entry);
  static const std::regex descriptor("'descr':\\s*'([^']*)'"), order("'fortran_order':\\s*(True|False)"),
      shape("'shape':\\s*\\(([0-9, ]*)\\)");
  std::smatch type_match, order_match, shape_match;
  if (!std::regex_search(text, type_match, descriptor) || !std::regex_search(text, order_match, order) ||
      !std::regex_search(text, shape_match, shape))
    fail("{}: has the header {}; expected descr, fortran_order and shape of plain numbers", entry.what(),
         text.substr(0, text.find_last_not_of(" \n") + 1));
  if (order_match[1] == "True") fail("{}: is in Fortran order; save it as numpy.ascontiguousarray(...)", entry.what());
  NpyHeader header{parse_descriptor(entry, type_match[1]), {}};
  const std::string extents = shape_match[1];
  static const std::regex number("[0-9]+");
  for (std::sregex_iterator each(extents.begin(), extents.end(), number), end; each != end; ++each) {
    const std::string digits = each->str();
    if (std::from_chars(digits.data(), digits.data() + digits.size(), header.shape.emplace_back()).ec != std::errc())
      fail("{}: has the impossible shape ({})", entry.what(), extents);
  }
  return header;
}

class NpyArray : public ForeignArray {
public:
  NpyArray(EntryReader entry, NpyHeader header) : ForeignArray(header.type, header.shape), entry_(std::move(entry)) {
    std::uint64_t bytes = type().bytes;
    for (const std::int64_t extent : shape()) {
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes))
        fail("{}: {} is impossibly large", entry_.what(), description());
    }
    if (bytes != entry_.left())
      fail("{}: {} bytes of values, expected {} for {}", entry_.what(), entry_.left(), bytes, description());
  }
  void read_next(std::int64_t, std::span<std::byte> out) override { entry_.read(out); }

private:
  EntryReader entry_;
};

class NpzFile : public ForeignFile {
public:
  explicit NpzFile(std::filesystem::path path) : path_(std::move(path)) {
    int code = 0;
    archive_ = zip_open(path_.c_str(), ZIP_RDONLY, &code);
    if (archive_) return;
    fail("{}: is no zip archive that can be read: {}", path_.string(), zip_error_text(code));
  }
  ~NpzFile() override { zip_discard(archive_); }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    const zip_int64_t entries = zip_get_num_entries(archive_, 0);
    for (zip_int64_t i = 0; i < entries; ++i) {
      const char* name = zip_get_name(archive_, static_cast<zip_uint64_t>(i), 0);
      if (name && std::string_view(name).ends_with(suffix))
        names.emplace_back(name, std::string_view(name).size() - suffix.size());
    }
    return names;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    EntryReader entry(path_, archive_, name);
    NpyHeader header = parse_header(entry);
    return std::make_unique<NpyArray>(std::move(entry), std::move(header));
  }

private:
  std::filesystem::path path_;
  zip_t* archive_ = nullptr;
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
      archive.add(array.name + std::string(suffix), *streams.back());
    }
    const std::string reason = archive.close();
    for (const auto& stream : streams) stream->rethrow();
    if (!reason.empty()) fail("{}: cannot be written: {}", path.string(), reason);
  }
  pending.commit();
}

}  // namespace couplet
