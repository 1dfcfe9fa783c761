#include "storage/formats/idx.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/deflate.h"

#include <fmt/ranges.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace couplet {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t idx_piece_bytes = std::size_t{1} << 18;
constexpr std::size_t longest_idx_header = 4 + 4 * 255;

bool is_gzip(const FileHandle& file) {
  std::array<std::byte, 2> start{};
  return file.read_some(start, 0) == 2 && start[0] == std::byte{0x1f} && start[1] == std::byte{0x8b};
}

/// What a gzip file holds, inflated in order: every member. Zeros after a member are padding, as tapes and block
/// devices leave it; other bytes after the last one are an error.
class GzipStream {
public:
  explicit GzipStream(std::filesystem::path path)
      : path_(std::move(path)), file_(FileHandle::open_to_read(path_)), fed_(idx_piece_bytes) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) fail("{}: zlib does not start", path_.string());
  }
  ~GzipStream() { inflateEnd(&stream_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  std::uint64_t position() const { return inflated_; }

  /// The next bytes; fewer than `out` takes only at the end.
  std::size_t read_some(std::span<std::uint8_t> out) {
    std::size_t done = 0;
    while (done < out.size()) {
      const std::size_t n = inflate_some(out.subspan(done));
      if (n == 0) break;
      done += n;
    }
    return done;
  }

private:
  /// At least one byte, unless the stream has ended.
  std::size_t inflate_some(std::span<std::uint8_t> out) {
    const std::size_t room = std::min<std::size_t>(out.size(), std::numeric_limits<uInt>::max());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(room);
    while (stream_.avail_out == room) {
      if (stream_.avail_in == 0) feed();
      if (member_ended_) skip_padding();
      if (member_ended_ && stream_.avail_in == 0) break;
      if (std::exchange(member_ended_, false)) inflateReset(&stream_);
      inflate_member(room);
    }
    inflated_ += room - stream_.avail_out;
    return room - stream_.avail_out;
  }

  void inflate_member(std::size_t room) {
    const int status = inflate(&stream_, Z_NO_FLUSH);
    const std::uint64_t there = inflated_ + room - stream_.avail_out;
    if (status == Z_STREAM_END) {
      member_ended_ = true;
    } else if (status == Z_BUF_ERROR && stream_.avail_in == 0) {
      fail("{}: truncated gzip stream: {} bytes of content, then the file ends; fetch the file again", path_.string(),
           there);
    } else if (status != Z_OK) {
      fail("{}: damaged gzip stream after {} bytes of content ({}); fetch the file again", path_.string(), there,
           stream_.msg ? stream_.msg : "no reason given");
    }
  }

  /// Up to a byte that is none, or the end of the file.
  void skip_padding() {
    for (; stream_.avail_in > 0; feed()) {
      const auto padded = std::ranges::find_if(stream_.next_in, stream_.next_in + stream_.avail_in,
                                               [](std::uint8_t byte) { return byte != 0; });
      stream_.avail_in -= static_cast<uInt>(padded - stream_.next_in);
      stream_.next_in = padded;
      if (stream_.avail_in > 0) return;
    }
  }

  void feed() {
    const std::size_t n = file_.read_some(std::as_writable_bytes(std::span(fed_)), offset_);
    offset_ += n;
    stream_.next_in = fed_.data();
    stream_.avail_in = static_cast<uInt>(n);
  }

  std::filesystem::path path_;
  FileHandle file_;
  std::uint64_t offset_ = 0;  ///< of the file, read so far
  Bytes fed_;
  z_stream stream_{};
  bool member_ended_ = false;
  std::uint64_t inflated_ = 0;
};

/// Checks the magic number and reads the dimensions: 4 bytes each, most significant first.
std::vector<std::int64_t> read_shape(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  if (bytes.size() < 4) fail("{}: is no IDX file: {} bytes, expected at least 4", path.string(), bytes.size());
  if (bytes[0] != 0 || bytes[1] != 0 || bytes[3] == 0) {
    fail("{}: is no IDX file: it begins with {:02x}{:02x}{:02x}{:02x}, expected 000008 and the number of dimensions",
         path.string(), bytes[0], bytes[1], bytes[2], bytes[3]);
  }
  if (bytes[2] != 0x08) {
    fail("{}: its elements have IDX type 0x{:02x}; only unsigned bytes (0x08) are read", path.string(), bytes[2]);
  }
  const std::size_t dimensions = bytes[3];
  if (bytes.size() < 4 + 4 * dimensions) {
    fail("{}: truncated: {} bytes, expected a header of {}", path.string(), bytes.size(), 4 + 4 * dimensions);
  }
  std::vector<std::int64_t> shape(dimensions, 0);
  for (std::size_t i = 0; i < 4 * dimensions; ++i) shape[i / 4] = shape[i / 4] * 256 + bytes[4 + i];
  return shape;
}

std::uint64_t product(const std::filesystem::path& path, const std::vector<std::int64_t>& shape) {
  std::int64_t bytes = 1;
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      fail("{}: its dimensions [{}] are impossibly large", path.string(), fmt::join(shape, ", "));
  }
  return static_cast<std::uint64_t>(bytes);
}

/// Compares the bytes of values that a file has, or as many of them as were read, with those of its shape.
void require_size(const std::filesystem::path& path, const std::vector<std::int64_t>& shape, std::uint64_t found,
                  bool is_all = true) {
  const std::uint64_t expected = product(path, shape);
  if (found == expected) return;
  fail("{}: {}: {} bytes of values{}, expected {} for dimensions [{}]", path.string(),
       found < expected ? "truncated" : "has trailing bytes", found, is_all ? "" : " or more", expected,
       fmt::join(shape, ", "));
}

std::size_t header_bytes(const std::vector<std::int64_t>& shape) {
  return 4 + 4 * shape.size();
}

}  // namespace

/// The values of a file, by their offset among them.
class IdxFile::Content {
public:
  virtual ~Content() = default;
  virtual void read(std::uint64_t offset, std::span<std::uint8_t> out) = 0;
};

class IdxFile::PlainContent : public IdxFile::Content {
public:
  PlainContent(const std::filesystem::path& path, FileHandle file, const std::vector<std::int64_t>& shape)
      : file_(std::move(file)), header_(header_bytes(shape)) {
    require_size(path, shape, file_.size() - header_);
  }
  void read(std::uint64_t offset, std::span<std::uint8_t> out) override {
    file_.read_at(std::as_writable_bytes(out), header_ + offset);
  }

private:
  FileHandle file_;
  std::uint64_t header_;
};

class IdxFile::GzipContent : public IdxFile::Content {
public:
  GzipContent(std::filesystem::path path, std::uint64_t packed, std::vector<std::int64_t> shape)
      : path_(std::move(path)), shape_(std::move(shape)), bytes_(product(path_, shape_)) {
    if (bytes_ > most_inflated_bytes(packed))
      fail("{}: truncated: {} bytes of gzip cannot hold the {} bytes of values of dimensions [{}]", path_.string(),
           packed, bytes_, fmt::join(shape_, ", "));
  }

  void read(std::uint64_t offset, std::span<std::uint8_t> out) override {
    const std::uint64_t header = header_bytes(shape_);
    if (!stream_ || stream_->position() > header + offset) stream_ = std::make_unique<GzipStream>(path_);
    skip_to(header + offset);
    if (stream_->read_some(out) < out.size()) require_size(path_, shape_, stream_->position() - header);
    if (offset + out.size() == bytes_) require_end(header);
  }

private:
  void skip_to(std::uint64_t position) {
    if (stream_->position() == position) return;
    Bytes skipped(idx_piece_bytes);
    while (stream_->position() < position) {
      const auto left =
          static_cast<std::size_t>(std::min<std::uint64_t>(skipped.size(), position - stream_->position()));
      if (stream_->read_some(std::span(skipped).first(left)) < left)
        require_size(path_, shape_, stream_->position() - header_bytes(shape_));
    }
  }
  /// Inflates no more than a piece beyond the end: a small file can unpack to any size.
  void require_end(std::uint64_t header) {
    Bytes beyond(idx_piece_bytes);
    const bool ends = stream_->read_some(beyond) < beyond.size();
    require_size(path_, shape_, stream_->position() - header, ends);
  }

  std::filesystem::path path_;
  std::vector<std::int64_t> shape_;
  std::uint64_t bytes_;
  std::unique_ptr<GzipStream> stream_;
};

IdxFile::IdxFile(std::filesystem::path path) : path_(std::move(path)) {
  FileHandle file = FileHandle::open_to_read(path_);
  Bytes header(longest_idx_header);
  const bool packed = is_gzip(file);
  header.resize(packed ? GzipStream(path_).read_some(header)
                       : file.read_some(std::as_writable_bytes(std::span(header)), 0));
  shape_ = read_shape(path_, header);
  const std::uint64_t bytes = product(path_, shape_);
  item_bytes_ = shape_[0] == 0 ? 0 : static_cast<std::size_t>(bytes / static_cast<std::uint64_t>(shape_[0]));
  if (packed)
    content_ = std::make_unique<GzipContent>(path_, file.size(), shape_);
  else
    content_ = std::make_unique<PlainContent>(path_, std::move(file), shape_);
}

IdxFile::~IdxFile() = default;
IdxFile::IdxFile(IdxFile&&) noexcept = default;
IdxFile& IdxFile::operator=(IdxFile&&) noexcept = default;

const std::vector<std::int64_t>& IdxFile::shape() const {
  return shape_;
}

std::size_t IdxFile::item_bytes() const {
  return item_bytes_;
}

void IdxFile::read(std::int64_t first, std::int64_t count, std::span<std::uint8_t> out) {
  if (first < 0 || count < 0 || first + count > shape_[0] ||
      out.size() != static_cast<std::size_t>(count) * item_bytes_) {
    fail("{}: items {} to {} into {} bytes; there are {} of {} bytes", path_.string(), first, first + count, out.size(),
         shape_[0], item_bytes_);
  }
  content_->read(static_cast<std::uint64_t>(first) * item_bytes_, out);
}

void IdxFile::require_whole() {
  const std::int64_t count = std::min<std::int64_t>(shape_[0], 1);
  Bytes last(static_cast<std::size_t>(count) * item_bytes_);
  read(shape_[0] - count, count, last);
}

std::vector<std::uint8_t> IdxFile::read_all() {
  const std::int64_t items = shape_[0];
  const std::int64_t at_once = item_bytes_ == 0 ? items : static_cast<std::int64_t>(idx_piece_bytes / item_bytes_ + 1);
  std::vector<std::uint8_t> values;
  std::int64_t done = 0;
  do {
    const std::int64_t count = std::min(at_once, items - done);
    const std::size_t there = values.size(), bytes = static_cast<std::size_t>(count) * item_bytes_;
    values.resize(there + bytes);
    read(done, count, std::span(values).subspan(there));
    done += count;
  } while (done < items);
  return values;
}

}  // namespace couplet
