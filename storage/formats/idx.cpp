#include "storage/formats/idx.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

namespace couplet {
namespace {

using Bytes = std::vector<std::uint8_t>;

bool is_gzip(const std::string& content) {
  return content.starts_with("\x1f\x8b");
}

/// Inflates every member of a gzip file; bytes after the last member are an error.
Bytes inflate_gzip(const std::filesystem::path& path, std::string& content) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) fail("{}: zlib does not start", path.string());
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> guard(&stream, &inflateEnd);
  Bytes out;
  Bytes piece(std::size_t{1} << 18);
  std::size_t fed = 0;
  int status = Z_OK;
  while (fed < content.size() || stream.avail_in > 0) {
    if (stream.avail_in == 0) {
      const std::size_t n = std::min(content.size() - fed, std::size_t{1} << 30);
      stream.next_in = reinterpret_cast<Bytef*>(content.data() + fed);
      stream.avail_in = static_cast<uInt>(n);
      fed += n;
    }
    if (status == Z_STREAM_END) inflateReset(&stream);
    do {
      stream.next_out = piece.data();
      stream.avail_out = static_cast<uInt>(piece.size());
      status = inflate(&stream, Z_NO_FLUSH);
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
        fail("{}: damaged gzip stream after {} bytes of content ({}); fetch the file again", path.string(), out.size(),
             stream.msg ? stream.msg : "no reason given");
      }
      out.insert(out.end(), piece.begin(), piece.end() - stream.avail_out);
    } while (status == Z_OK && stream.avail_out == 0);
  }
  if (status != Z_STREAM_END) {
    fail("{}: truncated gzip stream: {} bytes of content, then the file ends; fetch the file again", path.string(),
         out.size());
  }
  return out;
}

/// Checks the magic number and reads the dimensions: 4 bytes each, most significant first.
std::vector<std::int64_t> read_shape(const std::filesystem::path& path, const Bytes& bytes) {
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

}  // namespace

IdxArray read_idx(const std::filesystem::path& path) {
  std::string content = read_file(path);
  Bytes bytes = is_gzip(content) ? inflate_gzip(path, content) : Bytes(content.begin(), content.end());
  IdxArray array;
  array.shape = read_shape(path, bytes);
  std::int64_t expected = 1;
  for (const std::int64_t extent : array.shape) {
    if (__builtin_mul_overflow(expected, extent, &expected)) {
      fail("{}: its dimensions [{}] are impossibly large", path.string(), fmt::join(array.shape, ", "));
    }
  }
  const std::size_t header = 4 + 4 * array.shape.size();
  const std::size_t found = bytes.size() - header;
  if (found != static_cast<std::size_t>(expected)) {
    fail("{}: {}: {} bytes of values, expected {} for dimensions [{}]", path.string(),
         found < static_cast<std::size_t>(expected) ? "truncated" : "has trailing bytes", found, expected,
         fmt::join(array.shape, ", "));
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(header));
  array.values = std::move(bytes);
  return array;
}

std::vector<std::int64_t> read_idx_shape(const std::filesystem::path& path) {
  constexpr std::size_t most_header_bytes = 4 + 4 * 255;
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), &gzclose);  // plain files too
  if (!file) fail("{}: cannot be opened: {}", path.string(), std::generic_category().message(errno));
  Bytes bytes(most_header_bytes);
  const int count = gzread(file.get(), bytes.data(), static_cast<unsigned>(bytes.size()));
  if (count < 0) fail("{}: damaged gzip stream; fetch the file again", path.string());
  bytes.resize(static_cast<std::size_t>(count));
  return read_shape(path, bytes);
}

}  // namespace couplet
