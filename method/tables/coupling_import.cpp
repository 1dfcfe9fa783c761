#include "method/tables/coupling_import.h"

#include "method/statistics/coupling_statistics.h"
#include "method/tables/paired_arrays.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/formats/foreign_tree.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/table_arrays.h"
#include "storage/text.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t bytes_at_once = std::int64_t{16} << 20;

bool is_table(const std::filesystem::path& path) {
  return std::filesystem::exists(path / manifest_name);
}

std::unique_ptr<ForeignFile> open_source(const std::filesystem::path& path) {
  if (is_table(path)) return open_table_arrays(path, coupling_format);
  if (!std::filesystem::is_directory(path) && path.extension() != ".npy") {
    auto file = open_foreign_file(path);
    if (has_pairs_on_top(*file)) return file;
  }
  return open_foreign_tree(path);
}

/// The hash of a file, or of the names and hashes of several, which lie in or beside the source.
std::string hash_source(const std::filesystem::path& path) {
  const std::vector<std::filesystem::path> files = files_with_arrays(path);
  if (files == std::vector{path}) return hash_file(path);
  const std::filesystem::path folder = std::filesystem::is_directory(path) ? path : path.parent_path();
  ContentHash hash;
  for (const std::filesystem::path& file : files) {
    const std::string line = fmt::format("{} {}\n", file.lexically_relative(folder).string(), hash_file(file));
    hash.add(std::as_bytes(std::span(line)));
  }
  return hash.text();
}

/// A table that was itself imported hands on where it came from.
nlohmann::json describe_source(const std::filesystem::path& path) {
  nlohmann::json provenance{{"kind", "imported"}, {"flips", false}, {"replicates", 1}};
  provenance["source"] = utf8_text(std::filesystem::absolute(path).lexically_normal().filename().string());
  if (!is_table(path)) {
    provenance["source_hash"] = hash_source(path);
    return provenance;
  }
  const RowTable table(path, coupling_format);
  if (table.provenance().value("kind", "") == "imported") return table.provenance();
  provenance["source_hash"] = table.content_hash();
  return provenance;
}

/// Widens integers of any size to int64; unsigned ones beyond it become negative, which no label may be.
std::vector<std::int64_t> widen_integers(const NumberType& type, std::span<const std::byte> bytes) {
  std::vector<std::int64_t> values(bytes.size() / type.bytes);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * type.bytes, type.bytes);
    const std::size_t unused = 64 - 8 * type.bytes;
    values[i] =
        type.kind == 'i' ? static_cast<std::int64_t>(bits << unused) >> unused : static_cast<std::int64_t>(bits);
  }
  return values;
}

}  // namespace

ImportSource::ImportSource(const std::filesystem::path& path)
    : path_(path.has_filename() ? path : path.parent_path()), file_(open_source(path_)) {
  PairedArrays pairs = open_paired_arrays(path_.string(), *file_);
  notes_ = std::move(pairs.notes);
  noise_ = std::make_unique<ImportedNoise>(what("noise"), std::move(pairs.noise));
  image_ = std::make_unique<ImportedImages>(what("image"), std::move(pairs.image));
  label_ = std::move(pairs.label);
  check_images();
  check_labels();
  provenance_ = describe_source(path_);
}

std::string ImportSource::what(const std::string& array) const {
  return fmt::format("{}: array '{}'", path_.string(), array);
}

void ImportSource::check_images() const {
  const SquareRows& image = image_->rows();
  if (image.rows() != rows() || image.channels() != channels() || image.size() != size())
    refuse("{} is {}; expected uint8 [{}, {}, {}, {}] or floats, of the shape of noise", what("image"),
           image.description(), rows(), channels(), size(), size());
}

void ImportSource::check_labels() const {
  if (!label_) return;
  const bool whole = label_->type().kind == 'i' || label_->type().kind == 'u';
  if (whole && label_->shape() == std::vector<std::int64_t>{rows()}) return;
  const bool one_hot = label_->shape().size() == 2 && label_->shape()[1] > 1;
  refuse("{} is {}; expected integers [{}], one for each row of noise{}", what("label"), label_->description(), rows(),
         one_hot ? " (of one-hot labels, labels.argmax(1))" : "");
}

std::vector<Column> ImportSource::columns() const {
  std::vector<Column> columns = coupling_columns({channels(), size(), 0, {}}, noise_type());
  std::erase_if(columns, [](const Column& column) { return column.name == "nll" || column.name == "round_trip"; });
  for (Column& column : columns) {
    if (column.name == "noise")
      column.meaning = "noise of the pair as the source has it; divide by the manifest's sigma_f for unit variance";
    if (column.name == "image") {
      column.type = image_type();
      column.meaning = image_type() == ElementType::uint8 ? "image of the pair, grey values 0-255"
                                                          : "image of the pair as models see it, on [-1, 1]";
    }
    if (column.name == "sample") column.meaning = "row of the source";
  }
  return columns;
}

std::vector<std::string> ImportSource::notes() const {
  std::vector<std::string> notes = notes_;
  for (const std::vector<std::string>& more : {noise_->notes(), image_->notes()})
    notes.insert(notes.end(), more.begin(), more.end());
  if (!label_) notes.push_back(fmt::format("{}: has no array 'label': every label is 0", path_.string()));
  return notes;
}

std::vector<std::int32_t> ImportSource::next_labels(std::int64_t count, std::int64_t classes) {
  if (!label_) return std::vector<std::int32_t>(static_cast<std::size_t>(count), 0);
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * label_->row_bytes());
  label_->read_next(count, bytes);
  const std::vector<std::int64_t> labels = widen_integers(label_->type(), bytes);
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || labels[i] >= classes)
      fail("{}: row {} has label {}; expected 0 to {}", what("label"), row_ + static_cast<std::int64_t>(i),
           label_->type().kind == 'u' ? fmt::format("{}", static_cast<std::uint64_t>(labels[i]))
                                      : fmt::format("{}", labels[i]),
           classes - 1);
  return {labels.begin(), labels.end()};
}

ImportedRows ImportSource::next(std::int64_t count, std::int64_t classes) {
  ImportedRows rows{noise_->next(count), image_->next(count), next_labels(count, classes)};
  row_ += count;
  return rows;
}

namespace {

/// Σ f² and the number of values, of noise as stored.
struct NoiseSums {
  double squares = 0;
  std::int64_t values = 0;

  void add(ElementType type, std::span<const std::byte> noise) {
    std::vector<float> all;
    to_floats(type, noise, all);
    for (const float value : all) squares += static_cast<double>(value) * static_cast<double>(value);
    values += static_cast<std::int64_t>(all.size());
  }
};

/// Columns sample, flip and replicate of rows [first, first + count) of the shard.
void write_numbering(RowShardWriter& writer, const ShardHeader& header, std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> samples(static_cast<std::size_t>(count));
  std::iota(samples.begin(), samples.end(), header.first_row + first);
  const std::vector<std::uint8_t> flips(samples.size(), 0);
  const std::vector<std::int32_t> replicates(samples.size(), 0);
  writer.write(3, first, std::as_bytes(std::span(samples)));
  writer.write(4, first, std::as_bytes(std::span(flips)));
  writer.write(5, first, std::as_bytes(std::span(replicates)));
}

NoiseSums write_shard(ImportSource& source, const std::filesystem::path& path, const ShardHeader& header,
                      std::int64_t classes) {
  const std::vector<Column> columns = source.columns();
  std::int64_t row_bytes = 0;
  for (const Column& column : columns) row_bytes += static_cast<std::int64_t>(column.row_bytes());
  const std::int64_t rows_at_once = std::max<std::int64_t>(1, bytes_at_once / row_bytes);
  Pending pending(path);
  RowShardWriter writer(pending.path(), header, columns);
  NoiseSums sums;
  for (std::int64_t row = 0; row < header.rows; row += rows_at_once) {
    const std::int64_t count = std::min(rows_at_once, header.rows - row);
    const ImportedRows rows = source.next(count, classes);
    writer.write(0, row, rows.noise);
    writer.write(1, row, rows.image);
    writer.write(2, row, std::as_bytes(std::span(rows.label)));
    write_numbering(writer, header, row, count);
    sums.add(source.noise_type(), rows.noise);
  }
  writer.finish({{"sum_squares", sums.squares}, {"values", sums.values}, {"nonfinite_rows", 0}});
  pending.commit();
  return sums;
}

}  // namespace

double import_coupling(ImportSource& source, const std::filesystem::path& directory, const ImportLayout& layout) {
  const ShardPlan plan{source.rows(), layout.shard_rows};
  NoiseSums all;
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
    const ShardHeader header{coupling_format,     newest_shard_version, plan.first_row(shard),
                             plan.rows_of(shard), layout.block_rows,    source.provenance()};
    const NoiseSums sums = write_shard(source, directory / shard_name(shard, plan.shards()), header, layout.classes);
    all.squares += sums.squares;
    all.values += sums.values;
  }
  const double sigma_f = std::sqrt(all.squares / static_cast<double>(all.values));
  if (!(sigma_f > 0)) fail("{}: array 'noise' is 0 everywhere", source.path().string());
  publish_manifest(directory, plan, coupling_format, {{"sigma_f", sigma_f}, {"nonfinite_rows", 0}});
  return sigma_f;
}

}  // namespace couplet
