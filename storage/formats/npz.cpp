#include "storage/formats/npz.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/deflate.h"
#include "storage/formats/npy.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <fmt/ranges.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

static_assert(std::endian::native == std::endian::little, "arrays are read and written as little-endian memory");

namespace couplet {
namespace {

constexpr std::string_view npy_suffix = ".npy", npz_suffix = ".npz";
constexpr std::uint64_t most_nested_bytes = std::uint64_t{1} << 28;
constexpr std::size_t header_alignment = 64;
constexpr zip_uint16_t first_dos_date = 0x21;  // 1980-01-01, the earliest a zip archive can name

std::string zip_error_text(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

/// An archive that is open for reading. Who reads one of its entries holds it.
using OpenArchive = std::shared_ptr<zip_t>;

/// The bytes of one entry of the archive, in order.
class EntryBytes : public NpyBytes {
public:
  /// Entry `number` of the archive; `what` names it in messages.
  EntryBytes(const std::string& what, OpenArchive archive, zip_uint64_t number)
      : NpyBytes(what), archive_(std::move(archive)) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(archive_.get(), number, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE))
      fail("{}: cannot be found: {}", what, zip_strerror(archive_.get()));
    left_ = size_ = stat.size;
    is_stored_ = (stat.valid & ZIP_STAT_COMP_METHOD) && stat.comp_method == ZIP_CM_STORE &&
                 (stat.valid & ZIP_STAT_ENCRYPTION_METHOD) && stat.encryption_method == ZIP_EM_NONE;
    file_.reset(zip_fopen_index(archive_.get(), number, 0));
    if (!file_) fail("{}: cannot be read: {}", what, zip_strerror(archive_.get()));
  }

  std::uint64_t left() const override { return left_; }
  void read(std::span<std::byte> out) override {
    while (!out.empty()) {
      const zip_int64_t n = zip_fread(file_.get(), out.data(), out.size());
      if (n < 0) fail("{}: is damaged: {}", what(), zip_file_strerror(file_.get()));
      if (n == 0) fail("{}: is truncated: {} bytes are missing", what(), out.size());
      out = out.subspan(static_cast<std::size_t>(n));
      left_ -= static_cast<std::uint64_t>(n);
    }
    // libzip compares the entry's checksum when it finds its end.
    std::byte beyond{};
    if (left_ == 0 && zip_fread(file_.get(), &beyond, 1) != 0)
      fail("{}: is damaged: {}", what(), zip_file_strerror(file_.get()));
  }
  bool is_direct() const override { return is_stored_; }
  void go_to(std::uint64_t left) override {
    if (!is_stored_) return NpyBytes::go_to(left);
    if (zip_fseek(file_.get(), static_cast<zip_int64_t>(size_ - left), SEEK_SET) != 0)
      fail("{}: is damaged: {}", what(), zip_file_strerror(file_.get()));
    left_ = left;
  }

private:
  struct Close {
    void operator()(zip_file_t* file) const { zip_fclose(file); }
  };

  OpenArchive archive_;
  std::uint64_t left_ = 0, size_ = 0;
  bool is_stored_ = false;
  std::unique_ptr<zip_file_t, Close> file_;
};

/// Refuses entry `number` of an archive if its packed bytes cannot hold those that it claims, before memory is taken
/// for them. Other methods than deflate may pack closer: there, reading it shows what it holds.
void require_held(const std::string& what, const OpenArchive& archive, zip_uint64_t number,
                  std::uint64_t archive_bytes) {
  zip_stat_t stat;
  zip_stat_init(&stat);
  constexpr zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if (zip_stat_index(archive.get(), number, 0, &stat) != 0 || (stat.valid & needed) != needed)
    fail("{}: cannot be found: {}", what, zip_strerror(archive.get()));
  const std::uint64_t packed = std::min<std::uint64_t>(stat.comp_size, archive_bytes);
  if (stat.size <= (stat.comp_method == ZIP_CM_STORE ? packed : most_inflated_bytes(packed))) return;
  if (stat.comp_method == ZIP_CM_STORE || stat.comp_method == ZIP_CM_DEFLATE)
    fail("{}: is damaged: it claims {} bytes, which {} bytes in the archive cannot hold", what, stat.size, packed);
  std::vector<std::byte> piece(std::size_t{1} << 16);
  for (EntryBytes entry(what, archive, number); entry.left() > 0;)
    entry.read(std::span(piece).first(std::min<std::uint64_t>(piece.size(), entry.left())));
}

/// The entries of an archive.
class ArchiveEntries {
public:
  /// `bytes`: how many the whole archive has.
  ArchiveEntries(std::string what, OpenArchive archive, std::uint64_t bytes)
      : what_(std::move(what)), bytes_(bytes), archive_(std::move(archive)) {
    list();
  }

  const std::string& what() const { return what_; }
  /// Their names, in their order.
  const std::vector<std::string>& names() const { return names_; }
  /// Opens the entry of that name; `what` names it in messages.
  std::unique_ptr<NpyBytes> open(const std::string& what, const std::string& name) const {
    const auto found = numbers_.find(name);
    if (found == numbers_.end()) fail("{}: cannot be found", what);
    require_held(what, archive_, found->second, bytes_);
    return std::make_unique<EntryBytes>(what, archive_, found->second);
  }

private:
  /// A name that stands twice is refused: readers of archives differ in which of the two they take.
  void list() {
    const zip_int64_t entries = zip_get_num_entries(archive_.get(), 0);
    for (zip_int64_t i = 0; i < entries; ++i) {
      const char* name = zip_get_name(archive_.get(), static_cast<zip_uint64_t>(i), 0);
      if (!name) fail("{}: has no name for its entry {}: {}", what_, i, zip_strerror(archive_.get()));
      names_.emplace_back(name);
      if (!numbers_.emplace(name, static_cast<zip_uint64_t>(i)).second)
        refuse("{}: holds two entries of the name {}; write the archive anew instead of adding to it", what_,
               json_excerpt(name));
    }
  }

  std::string what_;
  std::uint64_t bytes_;
  OpenArchive archive_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, zip_uint64_t> numbers_;
};

ArchiveEntries open_archive(const std::filesystem::path& path) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (!archive) fail("{}: is no zip archive that can be read: {}", path.string(), zip_error_text(code));
  return {path.string(), OpenArchive(archive, zip_discard), std::filesystem::file_size(path)};
}

/// The archive that these bytes are.
ArchiveEntries open_archive(const std::string& what, std::vector<std::byte> bytes) {
  const std::size_t size = bytes.size();
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data(), size, 0, &error);
  zip_t* archive = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : nullptr;
  const std::string reason = zip_error_strerror(&error);
  zip_error_fini(&error);
  if (!archive && source) zip_source_free(source);
  if (!archive) fail("{}: is no zip archive that can be read: {}", what, reason);
  return {what, OpenArchive(archive, [held = std::move(bytes)](zip_t* all) { zip_discard(all); }), size};
}

class NpzFile : public ForeignFile {
public:
  explicit NpzFile(ArchiveEntries entries) : entries_(std::move(entries)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const std::string& entry : entries_.names())
      if (entry.ends_with(npy_suffix)) names.push_back(entry.substr(0, entry.size() - npy_suffix.size()));
    return names;
  }
  std::map<std::string, std::string> others() const override {
    std::map<std::string, std::string> others;
    for (const std::string& entry : entries_.names())
      if (!entry.ends_with(npy_suffix)) others[entry] = "an entry that is no .npy array";
    return others;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    const std::string what = fmt::format("{}: array '{}'", entries_.what(), name);
    return open_npy(entries_.open(what, name + std::string(npy_suffix)));
  }

protected:
  const ArchiveEntries& entries() const { return entries_; }

private:
  ArchiveEntries entries_;
};

/// The .npz entry that was used last is held in memory, and each whose array is read.
class NestedNpz : public NpzFile {
public:
  explicit NestedNpz(ArchiveEntries entries) : NpzFile(std::move(entries)) {
    names_ = NpzFile::names();
    for (const std::string& entry : this->entries().names())
      if (entry.ends_with(npz_suffix))
        for (const std::string& name : inner_of(entry).names()) names_.push_back(entry + "/" + name);
  }

  std::vector<std::string> names() const override { return names_; }
  std::map<std::string, std::string> others() const override {
    std::map<std::string, std::string> others = NpzFile::others();
    std::erase_if(others, [](const auto& other) { return other.first.ends_with(npz_suffix); });
    return others;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    const std::size_t end = name.find(std::string(npz_suffix) + "/");
    if (end == std::string::npos) return NpzFile::open(name);
    const std::size_t entry = end + npz_suffix.size();
    return inner_of(name.substr(0, entry)).open(name.substr(entry + 1));
  }

private:
  /// The archive that an entry is. It is read whole.
  NpzFile& inner_of(const std::string& entry) {
    if (inner_ && inner_name_ == entry) return *inner_;
    const std::string what = fmt::format("{}: entry '{}'", entries().what(), entry);
    const std::unique_ptr<NpyBytes> packed = entries().open(what, entry);
    if (packed->left() > most_nested_bytes)
      refuse("{}: has {}; an .npz file within an archive may have {}: unpack the archive, and import the folder", what,
             bytes_text(static_cast<std::int64_t>(packed->left())),
             bytes_text(static_cast<std::int64_t>(most_nested_bytes)));
    std::vector<std::byte> bytes(static_cast<std::size_t>(packed->left()));
    packed->read(bytes);
    inner_ = std::make_unique<NpzFile>(open_archive(what, std::move(bytes)));
    inner_name_ = entry;
    return *inner_;
  }

  std::vector<std::string> names_;
  std::string inner_name_;
  std::unique_ptr<NpzFile> inner_;
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
  return std::make_unique<NpzFile>(open_archive(path));
}

std::unique_ptr<ForeignFile> open_nested_npz(const std::filesystem::path& path) {
  return std::make_unique<NestedNpz>(open_archive(path));
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
