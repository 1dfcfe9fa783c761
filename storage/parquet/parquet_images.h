// Encoded images and their labels in Parquet files, as data sets of Hugging Face have them: a column of groups
// {bytes, path}, and one of integers.
#pragma once

#include "storage/parquet/parquet_page.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace couplet {

/// Which columns are meant; "": found by the names that are usual. Labels also "none".
struct ParquetNames {
  std::string images = {}, labels = {};
};

/// One Parquet file, of which pages are read as they are needed. May be used by several threads at once.
class ParquetImages {
public:
  /// Opens a file: reads its footer. Images are the column that its metadata say are images, or the only one with
  /// `bytes` below it or the name image, img, jpg, png or webp; labels the one that they say are classes, or label,
  /// labels, fine_label, class or cls. Refuses what is none or not clear, with the columns there are.
  explicit ParquetImages(const std::filesystem::path& path, const ParquetNames& names = {});

  std::int64_t rows() const { return metadata_.rows; }
  /// The names of the columns: "image.bytes", "label"; the second "" if there are no labels.
  const std::string& image_column() const { return metadata_.columns[images_].path; }
  std::string label_column() const;
  const std::vector<std::string>& class_names() const { return class_names_; }

  /// The bytes of the encoded image of a row. A row without is an error.
  std::vector<std::byte> image(std::int64_t row) const;
  /// The label of each row, from 0 to 2^31 - 1; empty without labels. One that is missing or out of range is an error.
  std::vector<std::int32_t> labels() const;

private:
  /// A page of data, and the first of its rows.
  struct Place {
    std::uint64_t offset = 0;
    ParquetPage page;
    std::int64_t first_row = 0;
  };
  /// The pages of a chunk.
  struct Pages {
    std::vector<Place> data;
    std::shared_ptr<const ParquetValues> dictionary;
  };

  void find_columns(const ParquetNames& names);
  std::size_t column_of_name(const char* key, const std::string& name) const;
  std::string columns_text() const;
  std::string what(std::size_t column) const;
  Pages read_pages(std::size_t group, std::size_t column) const;
  ParquetValues read_values(std::size_t group, std::size_t column, const Pages& pages, const Place& place) const;

  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  std::filesystem::path path_;
  FileHandle file_;
  ParquetMetadata metadata_;
  std::size_t images_ = none, labels_ = none;
  std::vector<std::string> class_names_;
  std::vector<std::int64_t> group_ends_;  ///< the first row behind each group

  /// What was read last.
  mutable std::mutex mutex_;
  mutable std::vector<std::shared_ptr<const Pages>> pages_;  ///< of the images' chunks that have been looked at
  mutable std::uint64_t last_offset_ = 0;
  mutable std::shared_ptr<const ParquetValues> last_;
};

}  // namespace couplet
