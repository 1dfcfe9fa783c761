#include "storage/files/row_journal.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

constexpr std::string_view journal_magic = "couplet rows 1\n";

/// In front of each batch.
struct BatchHeader {
  std::uint64_t rows = 0, checksum = 0;
};

std::uint64_t checksum_of(std::span<const std::byte> rows, std::uint64_t count) {
  return hash64(rows, count);
}

std::string file_header(const std::string& identity, std::size_t row_bytes) {
  return fmt::format("{}{} bytes a row\n{}\n\n", journal_magic, row_bytes, identity);
}

/// The file's first bytes, as many as a header of this length has.
std::string begin_of(const std::filesystem::path& path, std::size_t length) {
  const FileHandle file = FileHandle::open_to_read(path);
  std::string text(length, '\0');
  text.resize(file.read_some(std::as_writable_bytes(std::span(text)), 0));
  return text;
}

}  // namespace

RowJournal::RowJournal(std::filesystem::path path, const std::string& identity, std::size_t row_bytes, Others others)
    : path_(std::move(path)), row_bytes_(row_bytes) {
  const std::string header = file_header(identity, row_bytes);
  const bool there = std::filesystem::exists(path_);
  const bool ours = there && begin_of(path_, header.size()) == header;
  if (there && !ours && others == Others::refused)
    fail("{}: holds what was made so far with other settings, or is another file; remove it or choose another name",
         path_.string());
  if (!ours) publish_file(path_, header);
  file_ = FileHandle::open_to_change(path_);
  scan(header.size());
}

/// Finds the whole batches and cuts off what stands behind them.
void RowJournal::scan(std::uint64_t begin) {
  const std::uint64_t size = file_.size();
  std::vector<std::byte> rows;
  end_ = begin;
  for (BatchHeader header; end_ + sizeof header <= size;) {
    file_.read_at(std::as_writable_bytes(std::span(&header, 1)), end_);
    const std::uint64_t room = size - end_ - sizeof header;
    if (header.rows == 0 || header.rows > room / row_bytes_) break;
    rows.resize(static_cast<std::size_t>(header.rows) * row_bytes_);
    file_.read_at(rows, end_ + sizeof header);
    if (checksum_of(rows, header.rows) != header.checksum) break;
    batches_.push_back({rows_, end_ + sizeof header});
    rows_ += static_cast<std::int64_t>(header.rows);
    end_ += sizeof header + rows.size();
  }
  if (end_ < size) file_.resize(end_);
}

void RowJournal::append(std::span<const std::byte> rows) {
  const BatchHeader header{rows.size() / row_bytes_, checksum_of(rows, rows.size() / row_bytes_)};
  if (header.rows * row_bytes_ != rows.size())
    fail("{}: {} bytes are no whole rows of {} bytes", path_.string(), rows.size(), row_bytes_);
  if (rows.empty()) return;
  file_.write_at(std::as_bytes(std::span(&header, 1)), end_);
  file_.write_at(rows, end_ + sizeof header);
  batches_.push_back({rows_, end_ + sizeof header});
  rows_ += static_cast<std::int64_t>(header.rows);
  end_ += sizeof header + rows.size();
}

void RowJournal::read(std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  if (first < 0 || count < 0 || first + count > rows_ || out.size() != static_cast<std::size_t>(count) * row_bytes_)
    fail("{}: rows {} to {} into {} bytes: it has {} rows of {} bytes", path_.string(), first, first + count,
         out.size(), rows_, row_bytes_);
  auto batch = std::ranges::upper_bound(batches_, first, {}, &Batch::first);
  for (std::int64_t done = 0; done < count; ++batch) {
    const Batch& from = *std::prev(batch);
    const std::int64_t until = batch == batches_.end() ? rows_ : batch->first;
    const std::int64_t some = std::min(until - first - done, count - done);
    const auto skipped = static_cast<std::uint64_t>(first + done - from.first);
    file_.read_at(out.subspan(static_cast<std::size_t>(done) * row_bytes_, static_cast<std::size_t>(some) * row_bytes_),
                  from.offset + skipped * row_bytes_);
    done += some;
  }
}

void RowJournal::remove() {
  file_.close();
  std::filesystem::remove(path_);
}

}  // namespace couplet
