#include "storage/formats/array_rows.h"

#include "storage/error.h"
#include "storage/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace couplet {
namespace {

constexpr std::size_t array_piece_bytes = std::size_t{8} << 20;

/// A new file that has no name any more.
FileHandle nameless_file(const std::filesystem::path& folder) {
  std::string name = (folder / "couplet-unpacked-XXXXXX").string();
  const int descriptor = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor < 0) fail("{}: no file can be made in it: {}", folder.string(), errno_text(errno));
  FileHandle file(name, descriptor);
  if (::unlink(name.c_str()) != 0) fail("{}: cannot be removed: {}", name, errno_text(errno));
  return file;
}

}  // namespace

ArrayRows::ArrayRows(std::shared_ptr<ArrayFile> file, std::string name)
    : file_(std::move(file)), name_(std::move(name)), what_(fmt::format("{}: array '{}'", file_->name, name_)) {
  const std::lock_guard lock(file_->mutex);
  array_ = open_array();
  type_ = array_->type();
  shape_ = array_->shape();
  rows_ = array_->rows();
  row_bytes_ = array_->row_bytes();
  description_ = array_->description();
}

std::int64_t ArrayRows::piece_rows() const {
  return static_cast<std::int64_t>(array_piece_bytes / std::max<std::size_t>(row_bytes_, 1) + 1);
}

void ArrayRows::read(std::int64_t first, std::int64_t count, std::span<std::byte> out) {
  if (first < 0 || count < 0 || first > rows_ || count > rows_ - first ||
      out.size() != static_cast<std::size_t>(count) * row_bytes_)
    fail("{} is {}: cannot read {} rows from row {} into {} bytes", what_, description_, count, first, out.size());
  const std::lock_guard lock(file_->mutex);
  if (!unpacked_ && first < next_ && !array_->is_direct()) start_scratch();
  if (unpacked_) {
    unpack_to(first + count);
    return unpacked_->read_at(out, static_cast<std::uint64_t>(first) * row_bytes_);
  }
  if (first != next_ && array_->is_direct()) {
    array_->go_to(first);
  } else {
    skip_to(first);
  }
  array_->read_next(count, out);
  next_ = first + count;
}

void ArrayRows::for_each_piece(std::int64_t rows,
                               const std::function<void(std::int64_t first, std::span<const std::byte> piece)>& look) {
  const std::lock_guard lock(file_->mutex);
  const std::unique_ptr<ForeignArray> array = open_array();
  std::vector<std::byte> piece;
  for (std::int64_t first = 0; first < rows; first += piece_rows()) {
    const std::int64_t count = std::min(piece_rows(), rows - first);
    piece.resize(static_cast<std::size_t>(count) * row_bytes_);
    array->read_next(count, piece);
    look(first, piece);
  }
}

void ArrayRows::start_scratch() {
  const std::filesystem::path folder = file_->scratch.empty() ? std::filesystem::temp_directory_path() : file_->scratch;
  const auto bytes = static_cast<std::uint64_t>(rows_) * row_bytes_;
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (!error && space.available < bytes)
    fail(
        "{} is packed: to read its rows in another order, {} are unpacked into {}, which has {} free; set TMPDIR to "
        "another folder, or save the array without compression (numpy.savez)",
        what_, bytes_text(static_cast<std::int64_t>(bytes)), folder.string(),
        bytes_text(static_cast<std::int64_t>(space.available)));
  unpacked_ = nameless_file(folder);
  array_ = open_array();
  next_ = 0;
}

void ArrayRows::unpack_to(std::int64_t end) {
  std::vector<std::byte> piece;
  while (next_ < end) {
    const std::int64_t count = std::min(piece_rows(), rows_ - next_);
    piece.resize(static_cast<std::size_t>(count) * row_bytes_);
    array_->read_next(count, piece);
    unpacked_->write_at(piece, static_cast<std::uint64_t>(next_) * row_bytes_);
    next_ += count;
  }
  if (next_ == rows_) array_.reset();
}

void ArrayRows::skip_to(std::int64_t row) {
  std::vector<std::byte> piece;
  while (next_ < row) {
    const std::int64_t count = std::min(piece_rows(), row - next_);
    piece.resize(static_cast<std::size_t>(count) * row_bytes_);
    array_->read_next(count, piece);
    next_ += count;
  }
}

}  // namespace couplet
