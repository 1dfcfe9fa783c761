#include "method/couplings/coupling_import.h"

#include "method/statistics/coupling_statistics.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/table_arrays.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

namespace couplet {
namespace {

constexpr std::int64_t bytes_at_once = std::int64_t{16} << 20;
constexpr NumberType float64{'f', 8};

/// A table that was itself imported hands on where it came from.
nlohmann::json describe_source(const std::filesystem::path& path) {
  nlohmann::json provenance{{"kind", "imported"}, {"flips", false}, {"replicates", 1}};
  if (!std::filesystem::is_directory(path)) {
    provenance["source"] = utf8_text(path.filename().string());
    provenance["source_hash"] = hash_file(path);
    return provenance;
  }
  const RowTable table(path, coupling_format);
  if (table.provenance().value("kind", "") == "imported") return table.provenance();
  provenance["source"] = utf8_text(std::filesystem::absolute(path).lexically_normal().filename().string());
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

std::vector<std::byte> next_bytes(ForeignArray& array, std::int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * array.row_bytes());
  array.read_next(count, bytes);
  return bytes;
}

}  // namespace

ImportSource::ImportSource(const std::filesystem::path& path)
    : path_(path),
      file_(std::filesystem::is_directory(path) ? open_table_arrays(path, coupling_format) : open_foreign_file(path)) {
  noise_ = open("noise");
  image_ = open("image");
  label_ = open_if_there("label");
  check_arrays();
  provenance_ = describe_source(path);
}

std::unique_ptr<ForeignArray> ImportSource::open_if_there(const std::string& name) {
  const std::vector<std::string> names = file_->names();
  if (std::ranges::find(names, name) != names.end()) return file_->open(name);
  const std::map<std::string, std::string> others = file_->others();
  if (const auto found = others.find(name); found != others.end())
    refuse("{}: '{}' is {}; expected an array", path_.string(), name, found->second);
  return nullptr;
}

std::unique_ptr<ForeignArray> ImportSource::open(const std::string& name) {
  auto array = open_if_there(name);
  if (!array)
    refuse("{}: has no array '{}' at its top level; expected noise, image and perhaps label, found {}", path_.string(),
           name, contents_text(*file_));
  return array;
}

std::string ImportSource::what(const std::string& array) const {
  return fmt::format("{}: array '{}'", path_.string(), array);
}

void ImportSource::check_arrays() {
  const std::vector<std::int64_t>& shape = noise_->shape();
  const bool floating = noise_->type().kind == 'f';
  const bool square = shape.size() == 4 && shape[2] == shape[3];
  if (!floating || !square || std::ranges::any_of(shape, [](std::int64_t extent) { return extent < 1; }))
    refuse("{} is {}; expected float16, float32 or float64 [rows, channels, size, size]", what("noise"),
           noise_->description());
  if (image_->type() != NumberType{'u', 1} || image_->shape() != shape)
    refuse("{} is {}; expected uint8 [{}], as noise has it", what("image"), image_->description(),
           fmt::join(shape, ", "));
  if (!label_) return;
  const bool whole = label_->type().kind == 'i' || label_->type().kind == 'u';
  if (!whole || label_->shape() != std::vector<std::int64_t>{shape[0]})
    refuse("{} is {}; expected integers [{}], one for each row of noise", what("label"), label_->description(),
           shape[0]);
}

ElementType ImportSource::noise_type() const {
  return noise_->type().bytes == 2 ? ElementType::float16 : ElementType::float32;
}

std::vector<Column> ImportSource::columns() const {
  std::vector<Column> columns = coupling_columns({channels(), size(), 0, {}}, noise_type());
  std::erase_if(columns, [](const Column& column) { return column.name == "nll" || column.name == "round_trip"; });
  for (Column& column : columns) {
    if (column.name == "noise")
      column.meaning = "noise of the pair as the source has it; divide by the manifest's sigma_f for unit variance";
    if (column.name == "image") column.meaning = "image of the pair, grey values 0-255";
    if (column.name == "sample") column.meaning = "row of the source";
  }
  return columns;
}

std::vector<std::string> ImportSource::notes() const {
  std::vector<std::string> notes;
  if (noise_->type() == float64) notes.push_back(what("noise") + " is float64 and stored as float32");
  if (!label_) notes.push_back(fmt::format("{}: has no array 'label': every label is 0", path_.string()));
  return notes;
}

std::vector<std::byte> ImportSource::next_noise(std::int64_t count) {
  std::vector<std::byte> bytes = next_bytes(*noise_, count);
  std::vector<float> values;
  to_floats(noise_->type() == float64 ? ElementType::float64 : noise_type(), bytes, values);
  const auto bad = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (bad != values.end())
    fail("{}: row {} holds NaN, infinite values or values beyond float32; expected finite ones", what("noise"),
         row_ + (bad - values.begin()) / (channels() * size() * size()));
  if (noise_->type() != float64) return bytes;
  const auto narrow = std::as_bytes(std::span(values));
  return {narrow.begin(), narrow.end()};
}

std::vector<std::int32_t> ImportSource::next_labels(std::int64_t count, std::int64_t classes) {
  if (!label_) return std::vector<std::int32_t>(static_cast<std::size_t>(count), 0);
  const std::vector<std::int64_t> labels = widen_integers(label_->type(), next_bytes(*label_, count));
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || labels[i] >= classes)
      fail("{}: row {} has label {}; expected 0 to {}", what("label"), row_ + static_cast<std::int64_t>(i),
           label_->type().kind == 'u' ? fmt::format("{}", static_cast<std::uint64_t>(labels[i]))
                                      : fmt::format("{}", labels[i]),
           classes - 1);
  return {labels.begin(), labels.end()};
}

ImportedRows ImportSource::next(std::int64_t count, std::int64_t classes) {
  ImportedRows rows{next_noise(count), next_bytes(*image_, count), next_labels(count, classes)};
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
