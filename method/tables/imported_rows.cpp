#include "method/tables/imported_rows.h"

#include "method/statistics/coupling_statistics.h"
#include "storage/error.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t looked_at_bytes = std::int64_t{16} << 20;
constexpr float widest_seen = 100;  ///< grey values that are not whole go beyond; images and latents do not

/// Whether the channels are last: nothing else can be meant.
bool has_channels_last(const std::vector<std::int64_t>& shape) {
  return shape.size() == 4 && shape[2] != shape[3] && shape[1] == shape[2] && (shape[3] == 1 || shape[3] == 3) &&
         shape[3] < shape[2];
}

/// Rows [places, channels] as rows [channels, places].
std::vector<std::byte> with_channels_first(std::span<const std::byte> rows, std::size_t channels, std::size_t places,
                                           std::size_t bytes) {
  std::vector<std::byte> turned(rows.size());
  const std::size_t row_bytes = channels * places * bytes;
  for (std::size_t row = 0; row < rows.size(); row += row_bytes)
    for (std::size_t channel = 0; channel < channels; ++channel)
      for (std::size_t place = 0; place < places; ++place)
        std::memcpy(turned.data() + row + (channel * places + place) * bytes,
                    rows.data() + row + (place * channels + channel) * bytes, bytes);
  return turned;
}

bool is_grey(float value) {
  return value >= 0 && value <= 255 && value == std::floor(value);
}

}  // namespace

SquareRows::SquareRows(std::string what, std::unique_ptr<ForeignArray> array)
    : what_(std::move(what)), array_(std::move(array)), channels_last_(has_channels_last(array_->shape())) {
  const std::vector<std::int64_t>& shape = array_->shape();
  const bool is_known = is_floating() || array_->type() == NumberType{'u', 1};
  const bool is_square = shape.size() == 4 && (channels_last_ || shape[2] == shape[3]);
  if (!is_known || !is_square || std::ranges::any_of(shape, [](std::int64_t extent) { return extent < 1; }))
    refuse("{} is {}; expected uint8, float16, float32 or float64 [rows, channels, size, size]", what_,
           array_->description());
}

ElementType SquareRows::type() const {
  if (!is_floating()) return ElementType::uint8;
  return array_->type().bytes == 2 ? ElementType::float16 : ElementType::float32;
}

std::vector<std::string> SquareRows::notes() const {
  std::vector<std::string> notes;
  if (array_->type() == NumberType{'f', 8}) notes.push_back(what_ + " is float64 and stored as float32");
  if (channels_last_) notes.push_back(what_ + " has its channels last and is stored with them first");
  return notes;
}

std::vector<std::byte> SquareRows::next(std::int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * array_->row_bytes());
  array_->read_next(count, bytes);
  if (channels_last_)
    bytes = with_channels_first(bytes, static_cast<std::size_t>(channels()), static_cast<std::size_t>(size() * size()),
                                array_->type().bytes);
  if (array_->type() != NumberType{'f', 8}) return bytes;
  std::vector<float> values;
  to_floats(ElementType::float64, bytes, values);
  const auto narrow = std::as_bytes(std::span(values));
  return {narrow.begin(), narrow.end()};
}

ImportedNoise::ImportedNoise(const std::string& what, std::unique_ptr<ForeignArray> array)
    : SquareRows(what, std::move(array)) {
  if (!is_floating())
    refuse("{} is {}; expected float16, float32 or float64 [rows, channels, size, size]", what, description());
}

std::vector<std::byte> ImportedNoise::next(std::int64_t count) {
  std::vector<std::byte> bytes = SquareRows::next(count);
  std::vector<float> values;
  to_floats(type(), bytes, values);
  const auto bad = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
  if (bad != values.end())
    fail("{}: row {} holds NaN, infinite values or values beyond float32; expected finite ones", what(),
         row_ + (bad - values.begin()) / row_values());
  row_ += count;
  return bytes;
}

ImportedImages::ImportedImages(const std::string& what, std::unique_ptr<ForeignArray> array)
    : rows_(what, std::move(array)) {
  if (!rows_.is_floating()) return;
  const std::int64_t row_bytes = rows_.row_values() * static_cast<std::int64_t>(element_size(rows_.type()));
  first_ = rows_.next(std::clamp<std::int64_t>(looked_at_bytes / row_bytes, 1, rows_.rows()));
  std::vector<float> values;
  to_floats(rows_.type(), first_, values);
  are_grey_ =
      std::ranges::all_of(values, is_grey) && std::ranges::any_of(values, [](float value) { return value >= 2; });
  if (!are_grey_ && std::ranges::none_of(values, [](float value) { return value < 0; }))
    refuse(
        "{} is {} without a value below 0; expected images as models see them, on [-1, 1] (of images on [0, 1], "
        "2 * x - 1), or grey values, whole numbers from 0 to 255",
        what, rows_.description());
}

std::vector<std::string> ImportedImages::notes() const {
  std::vector<std::string> notes = rows_.notes();
  if (rows_.is_floating())
    notes.push_back(are_grey_ ? rows_.what() + " holds grey values and is stored as uint8"
                              : rows_.what() + " holds images as models see them and stays of floats");
  return notes;
}

/// Rows as `rows_` gives them; first those that were looked at.
std::vector<std::byte> ImportedImages::take(std::int64_t count) {
  const std::size_t row_bytes = static_cast<std::size_t>(rows_.row_values()) * element_size(rows_.type());
  const std::size_t wanted = static_cast<std::size_t>(count) * row_bytes, kept = std::min(first_.size(), wanted);
  const auto end = first_.begin() + static_cast<std::ptrdiff_t>(kept);
  std::vector<std::byte> bytes(first_.begin(), end);
  first_.erase(first_.begin(), end);
  if (first_.empty()) first_.shrink_to_fit();
  const std::vector<std::byte> more = rows_.next(static_cast<std::int64_t>((wanted - kept) / row_bytes));
  bytes.insert(bytes.end(), more.begin(), more.end());
  return bytes;
}

std::vector<std::byte> ImportedImages::next(std::int64_t count) {
  std::vector<std::byte> bytes = take(count);
  if (!rows_.is_floating()) return bytes;
  std::vector<float> values;
  to_floats(rows_.type(), bytes, values);
  const auto fits = [&](float value) { return are_grey_ ? is_grey(value) : std::abs(value) <= widest_seen; };
  if (const auto bad = std::ranges::find_if_not(values, fits); bad != values.end())
    fail("{}: row {} holds the value {}; expected {}", rows_.what(), row_ + (bad - values.begin()) / rows_.row_values(),
         *bad,
         are_grey_ ? "whole numbers from 0 to 255, as the first rows hold"
                   : "images as models see them, on [-1, 1] or thereabouts");
  row_ += count;
  if (!are_grey_) return bytes;
  std::vector<std::byte> grey;
  grey.reserve(values.size());
  for (const float value : values) grey.push_back(static_cast<std::byte>(value));
  return grey;
}

}  // namespace couplet
