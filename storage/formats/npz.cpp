#include "storage/error.h"
#include "storage/formats/foreign_array.h"

#include <zip.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <regex>
#include <utility>

namespace couplet {
namespace {

constexpr std::string_view suffix = ".npy";
constexpr std::size_t longest_header = 64 * 1024;

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
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail("{}: is no zip archive that can be read: {}", path_.string(), reason);
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

}  // namespace

std::unique_ptr<ForeignFile> open_npz(const std::filesystem::path& path) {
  return std::make_unique<NpzFile>(path);
}

}  // namespace couplet
