#include "method/couplings/dataset_rows.h"

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

void DatasetRows::scatter(std::size_t column, std::int64_t first, std::span<std::byte* const> places) const {
  const Column& described = columns_.at(column);
  const std::size_t row_bytes = described.row_bytes();
  const std::int64_t end = first + std::ssize(places), rows_a_sample = numbering_.rows() / numbering_.samples;
  const bool is_image = described.name == names[0];
  std::vector<std::byte> samples;
  for (std::int64_t row = first; row < end;) {
    // Up to the end of the block that the data set has its checksums for.
    const std::int64_t sample = numbering_.at(row).sample;
    const std::int64_t block_end = (sample / images_.block_rows() + 1) * images_.block_rows();
    const std::int64_t part_end = std::min(end, block_end * rows_a_sample);
    const std::int64_t count = numbering_.at(part_end - 1).sample + 1 - sample;
    samples.resize(static_cast<std::size_t>(count) * row_bytes);
    images_.read(stored_[column], sample, count, samples);
    for (; row < part_end; ++row) {
      const CouplingRow wanted = numbering_.at(row);
      const std::byte* from = samples.data() + static_cast<std::size_t>(wanted.sample - sample) * row_bytes;
      std::byte* to = places[static_cast<std::size_t>(row - first)];
      if (wanted.flip && is_image)
        copy_mirrored(to, from, described);
      else
        std::memcpy(to, from, row_bytes);
    }
  }
}

}  // namespace couplet
