// IDX files (the MNIST family's format), plain or gzipped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace couplet {

/// An IDX file of unsigned bytes, which is read item by item and not held. Its content, not its name, shows whether it
/// is gzipped. A missing or truncated file, trailing bytes, a wrong magic number or element type, and a damaged gzip
/// stream are errors that name the file with found and expected sizes. Zeros after a gzip stream are padding.
class IdxFile {
public:
  /// Reads the header; a file that is not gzipped has the size that its header says.
  explicit IdxFile(std::filesystem::path path);
  ~IdxFile();
  IdxFile(IdxFile&&) noexcept;
  IdxFile& operator=(IdxFile&&) noexcept;

  /// shape()[0] is the number of items.
  const std::vector<std::int64_t>& shape() const;
  std::size_t item_bytes() const;
  /// Reads items [first, first + count) into `out`, which has exactly their size. A gzipped file is inflated in order:
  /// what lies before `first` is skipped, and going back begins anew. Its end is checked with the last item.
  void read(std::int64_t first, std::int64_t count, std::span<std::uint8_t> out);
  /// Reads all items, in pieces: a header may promise more than the file holds, and more than there is memory for.
  std::vector<std::uint8_t> read_all();
  /// Inflates a gzipped file to the end that its header tells: an error says that it is truncated, damaged or too long.
  void require_whole();

private:
  class Content;
  class PlainContent;
  class GzipContent;

  std::filesystem::path path_;
  std::vector<std::int64_t> shape_;
  std::size_t item_bytes_ = 0;
  std::unique_ptr<Content> content_;
};

}  // namespace couplet
