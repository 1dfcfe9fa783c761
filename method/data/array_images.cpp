#include "method/data/array_images.h"

#include "pipeline/liveness/activity.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/formats/array_folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr const char *layout_key = "prepare.array-layout", *range_key = "prepare.array-range";

bool is_channels(std::int64_t extent) {
  return extent == 1 || extent == 3;
}

/// The axes of an array with one image a row, where the option does not say them: "NHW", "NHWC" or "NCHW".
std::string shape_layout(const ArrayRows& array) {
  const std::vector<std::int64_t>& shape = array.shape();
  if (shape.size() == 3) {
    if (is_channels(shape[2]) && shape[1] != shape[2])
      refuse("{} is {}: either grey images of width {}, or one image; set {} = NHW, or save it as [1, H, W, C]",
             array.what(), array.description(), shape[2], layout_key);
    return "NHW";
  }
  if (shape.size() != 4)
    refuse("{} is {}; images are [N, H, W], [N, H, W, C] or [N, C, H, W] with C 1 or 3{}", array.what(),
           array.description(),
           shape.size() == 2 ? ": reshape its rows (those of ImageNet's batches are read by prepare.format = imagenet)"
                             : "");
  const bool first = is_channels(shape[1]), last = is_channels(shape[3]);
  if (first && last)
    refuse("{} is {}: its channels may be the second axis or the last; set {} = NCHW or NHWC", array.what(),
           array.description(), layout_key);
  if (!first && !last)
    refuse("{} is {}; expected 1 or 3 channels as the second axis or the last", array.what(), array.description());
  return first ? "NCHW" : "NHWC";
}

/// "values from -1 to 0.98 in its first 256 rows"
std::string range_text(ArrayRows& array) {
  constexpr std::size_t looked_at = std::size_t{4} << 20;
  const auto rows = std::min(array.rows(), static_cast<std::int64_t>(looked_at / array.row_bytes() + 1));
  double lowest = 0, highest = 0;
  bool are_finite = true;
  array.for_each_piece(rows, [&](std::int64_t first, std::span<const std::byte> piece) {
    at::Tensor values =
        at::empty({static_cast<std::int64_t>(piece.size() / array.type().bytes)}, tensor_type(array.type()));
    std::ranges::copy(piece, writable_bytes(values).begin());
    values = values.to(at::kDouble);
    are_finite = are_finite && values.isfinite().all().item<bool>();
    const double low = values.min().item<double>(), high = values.max().item<double>();
    lowest = first == 0 ? low : std::min(lowest, low);
    highest = first == 0 ? high : std::max(highest, high);
  });
  return fmt::format(
      "{} in its first {} rows",
      are_finite ? fmt::format("values from {:.6g} to {:.6g}", lowest, highest) : "NaN or infinite values", rows);
}

/// Sets what the numbers of the array mean.
void set_range(ArrayPixels& pixels, ArrayRows& array, const std::string& range) {
  pixels.are_bytes = array.type() == NumberType{'u', 1};
  if (range != "bytes" && range != "unit" && range != "signed-unit")
    refuse("{} = {}: expected bytes, unit ([0, 1]) or signed-unit ([-1, 1])", range_key, range);
  if (pixels.are_bytes) {
    if (range != "bytes")
      refuse("{} = {}, but {} is {}, whose values are 0-255: set it to bytes", range_key, range, array.what(),
             array.description());
    return;
  }
  if (array.type().kind != 'f')
    refuse("{} is {}; images are uint8, or floats with {}: save them as uint8", array.what(), array.description(),
           range_key);
  if (range == "bytes")
    refuse(
        "{} is {}, with {}: set {} = unit if its values are on [0, 1], signed-unit if on [-1, 1]; save others as "
        "uint8",
        array.what(), array.description(), range_text(array), range_key);
  pixels.lowest = range == "unit" ? 0 : -1;
}

/// Rows of an array, [count, ...] of its type, as pixels [count, C, H, W]. `name` names row i of these.
template <class Name>
at::Tensor to_pixels(const ArrayPixels& pixels, const NumberType& type, std::int64_t count,
                     std::span<const std::byte> bytes, const Name& name) {
  const std::vector<std::int64_t> shape =
      pixels.channels_last ? std::vector<std::int64_t>{count, pixels.height, pixels.width, pixels.channels}
                           : std::vector<std::int64_t>{count, pixels.channels, pixels.height, pixels.width};
  at::Tensor rows = at::empty(shape, pixels.are_bytes ? at::kByte : tensor_type(type));
  std::ranges::copy(bytes, writable_bytes(rows).begin());
  if (!pixels.are_bytes) {
    rows = rows.to(at::kDouble);
    const at::Tensor fits = rows.flatten(1).ge(pixels.lowest).logical_and(rows.flatten(1).le(1)).all(1);
    if (!fits.all().template item<bool>()) {
      const auto row = fits.to(at::kByte).argmin().template item<std::int64_t>();
      const at::Tensor values = rows[row];
      fail("{}: has values from {:.6g} to {:.6g}; with {} = {} they are on [{}, 1]: save them clipped, or as uint8",
           name(row), values.min().template item<double>(), values.max().template item<double>(), range_key,
           pixels.lowest == 0 ? "unit" : "signed-unit", pixels.lowest);
    }
    rows = ((rows - pixels.lowest) * (255 / (1 - pixels.lowest))).round().to(at::kByte);
  }
  return pixels.channels_last ? rows.permute({0, 3, 1, 2}).contiguous() : rows;
}

/// Classes of an array whose numbers are `Number`s.
template <class Number>
std::vector<std::int32_t> classes_of(ArrayRows& array, std::int64_t first_class, std::int64_t most_classes) {
  std::vector<std::int32_t> classes;
  array.for_each_piece(array.rows(), [&](std::int64_t first, std::span<const std::byte> piece) {
    for (std::size_t at = 0; at < piece.size(); at += sizeof(Number)) {
      Number number{};
      std::ranges::copy(piece.subspan(at, sizeof number), std::as_writable_bytes(std::span(&number, 1)).begin());
      if (std::cmp_less(number, first_class) || std::cmp_greater_equal(number, first_class + most_classes))
        fail("{}: has the label {} in row {}; labels are {} to {}", array.what(), number,
             first + static_cast<std::int64_t>(at / sizeof number), first_class, first_class + most_classes - 1);
      classes.push_back(static_cast<std::int32_t>(static_cast<std::int64_t>(number) - first_class));
    }
  });
  return classes;
}

ImageSetShape shape_of(const ImageArrays& arrays) {
  std::int64_t images = 0;
  for (const auto& array : arrays.arrays) images += array->rows();
  return {images, arrays.pixels.channels, arrays.pixels.height, arrays.pixels.width};
}

}  // namespace

at::ScalarType tensor_type(const NumberType& floats) {
  return floats.bytes == 2 ? at::kHalf : floats.bytes == 4 ? at::kFloat : at::kDouble;
}

std::shared_ptr<ArrayFile> open_array_file(const std::filesystem::path& path, const std::filesystem::path& scratch) {
  auto file = std::make_shared<ArrayFile>();
  file->name = path.string();
  file->file = open_arrays(path);
  file->scratch = scratch;
  return file;
}

std::string ArrayPixels::text() const {
  return fmt::format("{}, {}", channels_last ? "channels last" : "channels first",
                     are_bytes       ? "bytes"
                     : lowest == 0.0 ? "unit"
                                     : "signed-unit");
}

ArrayPixels array_pixels(ArrayRows& array, const ArrayOptions& options) {
  const std::string layout = options.layout == "auto" ? shape_layout(array) : options.layout;
  if (layout != "NHW" && layout != "NHWC" && layout != "NCHW")
    refuse("{} = {}: expected auto, NHW, NHWC or NCHW", layout_key, layout);
  const std::vector<std::int64_t>& shape = array.shape();
  if (shape.size() != layout.size())
    refuse("{} = {}, but {} is {}", layout_key, layout, array.what(), array.description());
  ArrayPixels pixels;
  pixels.channels_last = layout == "NHWC";
  pixels.channels = layout == "NHW" ? 1 : pixels.channels_last ? shape[3] : shape[1];
  pixels.height = layout == "NCHW" ? shape[2] : shape[1];
  pixels.width = layout == "NCHW" ? shape[3] : shape[2];
  if (!is_channels(pixels.channels))
    refuse("{} is {}: {} channels with {} = {}; expected 1 or 3", array.what(), array.description(), pixels.channels,
           layout_key, layout);
  if (array.row_bytes() == 0 || array.rows() == 0) refuse("{} is {}: no images", array.what(), array.description());
  if (std::max(pixels.height, pixels.width) > largest_image_side)
    refuse("{} is {}; a side has at most {} pixels", array.what(), array.description(), largest_image_side);
  set_range(pixels, array, options.range);
  return pixels;
}

std::vector<std::int32_t> array_labels(ArrayRows& array, const ArrayRows& images, std::int64_t first,
                                       std::int64_t most_classes) {
  const std::vector<std::int64_t>& shape = array.shape();
  const NumberType type = array.type();
  if (shape.size() == 2 && shape[1] > 1)
    refuse("{} is {}: several numbers an image; labels are one, [N]: save one-hot vectors by their argmax",
           array.what(), array.description());
  if (shape.empty() || shape.size() > 2 || array.row_bytes() != type.bytes)
    refuse("{} is {}; labels are [N]", array.what(), array.description());
  if (type.kind == 'f') refuse("{} is {}; labels are integers", array.what(), array.description());
  if (array.rows() != images.rows())
    refuse("{} has {} images, but {} has {} labels: they are not of one data set", images.what(), images.rows(),
           array.what(), array.rows());
  const bool has_sign = type.kind == 'i';
  switch (type.bytes) {
    case 1:
      return has_sign ? classes_of<std::int8_t>(array, first, most_classes)
                      : classes_of<std::uint8_t>(array, first, most_classes);
    case 2:
      return has_sign ? classes_of<std::int16_t>(array, first, most_classes)
                      : classes_of<std::uint16_t>(array, first, most_classes);
    case 4:
      return has_sign ? classes_of<std::int32_t>(array, first, most_classes)
                      : classes_of<std::uint32_t>(array, first, most_classes);
    default:
      return has_sign ? classes_of<std::int64_t>(array, first, most_classes)
                      : classes_of<std::uint64_t>(array, first, most_classes);
  }
}

ArrayImages::ArrayImages(ImageArrays arrays) : SourceImages(arrays.name, shape_of(arrays)), arrays_(std::move(arrays)) {
  for (const auto& array : arrays_.arrays) ends_.push_back((ends_.empty() ? 0 : ends_.back()) + array->rows());
}

ArrayImages::Place ArrayImages::place_of(std::int64_t image) const {
  const auto array = static_cast<std::size_t>(std::ranges::upper_bound(ends_, image) - ends_.begin());
  return {array, image - (array == 0 ? 0 : ends_[array - 1])};
}

at::Tensor ArrayImages::read(std::int64_t first, std::int64_t count) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * arrays_.arrays.front()->row_bytes());
  std::span<std::byte> left = bytes;
  for (std::int64_t image = first; image < first + count;) {
    const Place place = place_of(image);
    ArrayRows& array = *arrays_.arrays.at(place.array);
    const std::int64_t rows = std::min(array.rows() - place.row, first + count - image);
    const std::size_t part = static_cast<std::size_t>(rows) * array.row_bytes();
    array.read(place.row, rows, left.first(part));
    note_progress();
    left = left.subspan(part);
    image += rows;
  }
  return to_pixels(arrays_.pixels, arrays_.arrays.front()->type(), count, bytes,
                   [&](std::int64_t row) { return image_name(first + row); });
}

std::int64_t ArrayImages::label(std::int64_t image) const {
  return arrays_.labels.empty() ? 0 : arrays_.labels[static_cast<std::size_t>(image)];
}

std::string ArrayImages::image_name(std::int64_t image) const {
  const Place place = place_of(image);
  return fmt::format("row {} of {}", place.row, arrays_.arrays.at(place.array)->what());
}

std::string ArrayImages::content_hash() const {
  for (std::size_t i = 0; i < arrays_.arrays.size(); ++i) {
    ArrayRows& array = *arrays_.arrays[i];
    const std::int64_t before = i == 0 ? 0 : ends_[i - 1];
    array.for_each_piece(array.rows(), [&](std::int64_t first, std::span<const std::byte> piece) {
      note_progress();
      if (arrays_.pixels.are_bytes) return;
      static_cast<void>(to_pixels(arrays_.pixels, array.type(),
                                  static_cast<std::int64_t>(piece.size() / array.row_bytes()), piece,
                                  [&](std::int64_t row) { return image_name(before + first + row); }));
    });
  }
  return hash_text(files_hash(arrays_.files) + "\n" + arrays_.meaning + "\n" + arrays_.pixels.text());
}

}  // namespace couplet
