#include "storage/formats/npy.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/formats/npy_header.h"
#include "storage/json_text.h"

#include <array>
#include <string_view>

namespace couplet {
namespace {

constexpr std::size_t longest_npy_header = 64 * 1024;

/// The dictionary behind magic, version (1 to 3) and length.
std::string read_header_text(NpyBytes& bytes) {
  std::array<unsigned char, 8> start{};
  if (bytes.left() < 12) fail("{}: is no .npy array: {} bytes", bytes.what(), bytes.left());
  bytes.read(std::as_writable_bytes(std::span(start)));
  const std::string_view magic(reinterpret_cast<const char*>(start.data()), 6);
  if (magic != std::string_view("\x93NUMPY", 6) || start[6] < 1 || start[6] > 3)
    fail("{}: is no .npy array of version 1 to 3", bytes.what());
  std::array<unsigned char, 4> digits{};
  bytes.read(std::as_writable_bytes(std::span(digits)).first(start[6] == 1 ? 2 : 4));
  const std::size_t length = digits[0] + 256u * (digits[1] + 256u * (digits[2] + 256u * digits[3]));
  if (length > longest_npy_header || length > bytes.left())
    fail("{}: has an impossible header of {} bytes", bytes.what(), length);
  std::string text(length, '\0');
  bytes.read(std::as_writable_bytes(std::span(text)));
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

NpyHeader read_header(NpyBytes& bytes) {
  const std::string text = read_header_text(bytes);
  const std::optional<NpyHeader> header = parse_npy_header(text);
  if (!header)
    refuse("{}: has the header {}; expected descr, fortran_order and shape of plain numbers", bytes.what(),
           json_excerpt(text.substr(0, text.find_last_not_of(" \n") + 1)));
  if (header->fortran_order) refuse("{}: is in Fortran order; save it as numpy.ascontiguousarray(...)", bytes.what());
  return *header;
}

class NpyArray : public ForeignArray {
public:
  NpyArray(std::unique_ptr<NpyBytes> bytes, const NpyHeader& header)
      : ForeignArray(bytes->what(), parse_descriptor(bytes->what(), header.descriptor), header.shape),
        bytes_(std::move(bytes)) {
    const std::uint64_t expected = static_cast<std::uint64_t>(rows()) * row_bytes();
    if (expected != bytes_->left())
      fail("{}: {} bytes of values, expected {} for {}", bytes_->what(), bytes_->left(), expected, description());
  }

  bool is_direct() const override { return bytes_->is_direct(); }

private:
  void read_rows(std::int64_t first, std::int64_t, std::span<std::byte> out) override {
    const std::uint64_t left = static_cast<std::uint64_t>(rows() - first) * row_bytes();
    if (left != bytes_->left()) bytes_->go_to(left);
    bytes_->read(out);
  }

  std::unique_ptr<NpyBytes> bytes_;
};

class NpyFileBytes : public NpyBytes {
public:
  explicit NpyFileBytes(const std::filesystem::path& path)
      : NpyBytes(path.string()), file_(FileHandle::open_to_read(path)), size_(file_.size()) {}
  std::uint64_t left() const override { return size_ - next_; }
  void read(std::span<std::byte> out) override {
    file_.read_at(out, next_);
    next_ += out.size();
  }
  bool is_direct() const override { return true; }
  void go_to(std::uint64_t left) override { next_ = size_ - left; }

private:
  FileHandle file_;
  std::uint64_t size_, next_ = 0;
};

}  // namespace

std::unique_ptr<ForeignArray> open_npy(std::unique_ptr<NpyBytes> bytes) {
  const NpyHeader header = read_header(*bytes);
  return std::make_unique<NpyArray>(std::move(bytes), header);
}

std::unique_ptr<ForeignArray> open_npy(const std::filesystem::path& path) {
  return open_npy(std::make_unique<NpyFileBytes>(path));
}

}  // namespace couplet
