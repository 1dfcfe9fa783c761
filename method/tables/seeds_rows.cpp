#include "method/tables/seeds_rows.h"

#include "storage/error.h"

#include <algorithm>
#include <type_traits>

namespace couplet {
namespace {

constexpr const char* seeds_names[] = {"image", "label", "noise_id"};

/// Values of a column that has one a row.
template <class Value>
std::vector<Value> gather_values(const RowTable& table, const char* column, std::span<const std::int64_t> numbers) {
  std::vector<Value> values(numbers.size());
  std::vector<std::byte*> places;
  for (Value& value : values) places.push_back(reinterpret_cast<std::byte*>(&value));
  table.gather(table.column(column), numbers, places);
  return values;
}

}  // namespace

SeedsRows::SeedsRows(const RowTable& seeds, const RowTable& images)
    : seeds_(seeds), images_(images, CouplingRows{images.rows(), true, 1}, seeds.block_rows()) {
  const std::string dataset = seeds.provenance().value("dataset", "");
  if (dataset != images.content_hash())
    refuse("{}: its noises were chosen for the data set {}; {} has the hash {}. Make the table anew",
           seeds.path().string(), dataset, images.path().string(), images.content_hash());
  columns_ = {images.columns().at(images.column("image")), seeds.columns().at(seeds.column("label")),
              seeds.columns().at(seeds.column("noise_id"))};
}

std::size_t SeedsRows::column(const std::string& name) const {
  const auto found = std::ranges::find(seeds_names, name);
  if (found == std::end(seeds_names))
    fail("{}: a table of seeds has no column '{}' for training", seeds_.path().string(), name);
  return static_cast<std::size_t>(found - std::begin(seeds_names));
}

void SeedsRows::gather(std::size_t column, std::span<const std::int64_t> numbers,
                       std::span<std::byte* const> places) const {
  if (column > 0) return seeds_.gather(seeds_.column(seeds_names[column]), numbers, places);
  const auto samples = gather_values<std::int64_t>(seeds_, "sample", numbers);
  const auto flips = gather_values<std::uint8_t>(seeds_, "flip", numbers);
  std::vector<std::int64_t> rows(numbers.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = 2 * samples[i] + flips[i];
  images_.gather(images_.column("image"), rows, places);
}

}  // namespace couplet
