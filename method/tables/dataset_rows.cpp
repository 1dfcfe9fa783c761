#include "method/tables/dataset_rows.h"

#include "storage/error.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>

namespace couplet {
namespace {

constexpr const char* names[] = {"image", "label"};

/// A stored image [..., width] mirrored left to right.
void copy_mirrored(std::byte* to, const std::byte* from, const Column& column) {
  const auto width = static_cast<std::size_t>(column.shape.back());
  const std::size_t element = element_size(column.type), line = width * element;
  for (std::size_t begin = 0; begin < column.row_bytes(); begin += line)
    for (std::size_t i = 0; i < width; ++i)
      std::memcpy(to + begin + i * element, from + begin + (width - 1 - i) * element, element);
}

}  // namespace

DatasetRows::DatasetRows(const RowTable& images, const CouplingRows& numbering, std::int64_t block_rows)
    : images_(images), numbering_(numbering), block_rows_(block_rows) {
  for (const char* name : names) {
    stored_.push_back(images.column(name));
    columns_.push_back(images.columns().at(stored_.back()));
  }
}

std::size_t DatasetRows::column(const std::string& name) const {
  const auto found = std::ranges::find(columns_, name, &Column::name);
  if (found == columns_.end())
    fail("{}: a data set has no column '{}' for training; it has {}", images_.path().string(), name,
         fmt::join(names, ", "));
  return static_cast<std::size_t>(found - columns_.begin());
}

void DatasetRows::gather(std::size_t column, std::span<const std::int64_t> numbers,
                         std::span<std::byte* const> places) const {
  const Column& described = columns_.at(column);
  const std::size_t row_bytes = described.row_bytes();
  const bool is_image = described.name == names[0];
  // Rows of one sample follow each other: each sample is read once, into the place of the first of its rows.
  std::vector<std::int64_t> samples;
  std::vector<std::byte*> read_to;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::int64_t sample = numbering_.at(numbers[i]).sample;
    if (!samples.empty() && samples.back() == sample) continue;
    samples.push_back(sample);
    read_to.push_back(places[i]);
  }
  images_.gather(stored_[column], samples, read_to);
  std::vector<std::byte> image(row_bytes);
  for (std::size_t i = numbers.size(), k = samples.size(); i-- > 0;) {
    const CouplingRow wanted = numbering_.at(numbers[i]);
    while (samples[k - 1] != wanted.sample) --k;
    std::memcpy(image.data(), read_to[k - 1], row_bytes);
    if (wanted.flip && is_image)
      copy_mirrored(places[i], image.data(), described);
    else if (places[i] != read_to[k - 1])
      std::memcpy(places[i], image.data(), row_bytes);
  }
}

}  // namespace couplet
