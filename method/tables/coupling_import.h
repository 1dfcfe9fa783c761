// Couplings made elsewhere: arrays of noise, images and labels become a coupling table of kind "imported".
#pragma once

#include "method/tables/coupling_table.h"
#include "method/tables/imported_rows.h"
#include "storage/formats/foreign_array.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// Rows of an import, as a table stores them.
struct ImportedRows {
  std::vector<std::byte> noise;  ///< of the source's noise_type
  std::vector<std::byte> image;  ///< of its image_type
  std::vector<std::int32_t> label;
};

/// Noise and images in an .npz, .npy or HDF5 file, an archive or a folder of such files, under the names that
/// docs/coupling-table.md lists (method/tables/paired_arrays.h); or a directory with a coupling table. Noise is
/// float16, float32, or float64, which becomes float32, [N, C, S, S]; images are of its shape (imported_rows.h), and
/// labels, where there are any, integers [N]. Other types and shapes are refused, naming source, array, what was found
/// and what was expected.
class ImportSource {
public:
  explicit ImportSource(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::int64_t rows() const { return noise_->rows(); }
  std::int64_t channels() const { return noise_->channels(); }
  std::int64_t size() const { return noise_->size(); }
  ElementType noise_type() const { return noise_->type(); }
  ElementType image_type() const { return image_->type(); }
  /// noise, image, label, sample, flip, replicate; likelihood and round trip are not known.
  std::vector<Column> columns() const;
  /// {"kind": "imported", "source", "source_hash", "flips", "replicates"}: of a file its name and content hash; of a
  /// folder its name and the hash of its files' names and content hashes; of a table that was imported, what its own
  /// provenance says.
  const nlohmann::json& provenance() const { return provenance_; }
  /// What was assumed, put together or converted, a line each.
  std::vector<std::string> notes() const;

  /// The next `count` rows. Noise that is not finite, images that are not what the first ones are, labels below 0 and
  /// labels of `classes` and above are errors that name the row.
  ImportedRows next(std::int64_t count, std::int64_t classes);

private:
  void check_images() const;
  void check_labels() const;
  std::vector<std::int32_t> next_labels(std::int64_t count, std::int64_t classes);
  std::string what(const std::string& array) const;

  std::filesystem::path path_;
  std::unique_ptr<ForeignFile> file_;
  std::unique_ptr<ImportedNoise> noise_;
  std::unique_ptr<ImportedImages> image_;
  std::unique_ptr<ForeignArray> label_;  ///< none where the source has no labels
  std::vector<std::string> notes_;
  nlohmann::json provenance_;
  std::int64_t row_ = 0;  ///< the next one
};

struct ImportLayout {
  std::int64_t shard_rows = 8192, block_rows = 256;
  std::int64_t classes = std::int64_t{1} << 31;  ///< labels lie below
};

/// Writes all rows of a source from which nothing was taken yet as a table into a directory that is there: shards that
/// are published one by one, then the manifest. Returns σ_f. Memory: some 16 MiB of rows.
double import_coupling(ImportSource& source, const std::filesystem::path& directory, const ImportLayout& layout);

}  // namespace couplet
