#include "method/data/latent_arrays.h"

#include "method/data/array_images.h"
#include "method/data/latents.h"
#include "method/data/selected_images.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/archives/file_set.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/formats/array_folder.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace couplet {
namespace {

constexpr std::array<std::string_view, 2> training_prefixes{"", "train/"};
constexpr std::array<std::string_view, 3> held_out_prefixes{"test/", "val/", "validation/"};
constexpr double least_log_variance = -30, largest_log_variance = 20;  ///< as latent diffusion clamps them

bool has_name(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

/// The arrays of one split, by name; "": there is none.
struct LatentNames {
  std::string moments, mean, deviation, labels;

  bool are_there() const { return !moments.empty() || !mean.empty() || !deviation.empty(); }
  std::string text() const {
    const std::string arrays = moments.empty() ? fmt::format("arrays '{}' and '{}'", mean, deviation)
                                               : fmt::format("array '{}', means and log-variances", moments);
    return fmt::format("{}, {}", arrays, labels.empty() ? "no labels" : fmt::format("labels '{}'", labels));
  }
};

LatentNames names_with(const std::vector<std::string>& names, std::string_view prefix) {
  const auto if_there = [&](const char* name) {
    std::string whole = std::string(prefix) + name;
    return has_name(names, whole) ? whole : "";
  };
  LatentNames found{if_there("moments"), if_there("mean"), if_there("std"), if_there("label")};
  if (found.labels.empty()) found.labels = if_there("labels");
  return found;
}

template <std::size_t n>
LatentNames first_names(const std::vector<std::string>& names, const std::array<std::string_view, n>& prefixes) {
  for (const std::string_view prefix : prefixes)
    if (LatentNames found = names_with(names, prefix); found.are_there()) return found;
  return {};
}

void require_pair(const LatentNames& found, const std::string& what) {
  if (!found.moments.empty() && !(found.mean.empty() && found.deviation.empty()))
    refuse("{}: has the array '{}' and beside it '{}'; latents are one or the other: remove what is not meant", what,
           found.moments, found.mean.empty() ? found.deviation : found.mean);
  if (found.moments.empty() && (found.mean.empty() || found.deviation.empty()))
    refuse(
        "{}: has the array '{}' alone; latents are means and standard deviations, 'mean' and 'std', [N, C, h, w]: save "
        "zeros as 'std' where there are none",
        what, found.mean.empty() ? found.deviation : found.mean);
}

/// An array of latents, whose rows are [channels, h, w].
std::shared_ptr<ArrayRows> open_latent_array(const std::shared_ptr<ArrayFile>& file, const std::string& name) {
  auto array = std::make_shared<ArrayRows>(file, name);
  if (array->type().kind != 'f' || array->shape().size() != 4 || array->row_bytes() == 0 || array->rows() == 0)
    refuse("{} is {}; latents are floats, [N, C, h, w]", array->what(), array->description());
  return array;
}

/// Rows of an array, as single precision.
at::Tensor numbers_of(const ArrayRows& array, std::int64_t rows, std::span<const std::byte> bytes) {
  std::vector<std::int64_t> shape = array.shape();
  shape[0] = rows;
  at::Tensor values = at::empty(shape, tensor_type(array.type()));
  std::ranges::copy(bytes, writable_bytes(values).begin());
  return values.to(at::kFloat);
}

class ArrayLatents : public SourceImages {
public:
  ArrayLatents(const std::shared_ptr<ArrayFile>& file, const LatentNames& names, const SourceOptions& options)
      : ArrayLatents(open_latent_array(file, names.moments.empty() ? names.mean : names.moments),
                     names.moments.empty() ? open_latent_array(file, names.deviation) : nullptr) {
    meaning_ = names.text();
    files_ = array_files(options.folder);
    if (names.labels.empty()) return;
    ArrayRows labels(file, names.labels);
    labels_ = array_labels(labels, *first_);
  }

  ElementType type() const override { return ElementType::float16; }
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    at::Tensor rows =
        whole(read_numbers(*first_, first, count), second_ ? read_numbers(*second_, first, count) : at::Tensor());
    require_fit(rows, first);
    return rows;
  }
  std::int64_t label(std::int64_t image) const override {
    return labels_.empty() ? 0 : labels_[static_cast<std::size_t>(image)];
  }
  std::string image_name(std::int64_t image) const override {
    return fmt::format("row {} of {}", image, first_->what());
  }
  /// Reads all rows: damaged ones, and values that cannot be stored, are errors.
  std::string content_hash() const override {
    for (ArrayRows* array : {first_.get(), second_.get()}) {
      if (array == nullptr) continue;
      array->for_each_piece(array->rows(), [&](std::int64_t first, std::span<const std::byte> piece) {
        note_progress();
        const auto rows = static_cast<std::int64_t>(piece.size() / array->row_bytes());
        const at::Tensor numbers = numbers_of(*array, rows, piece), none = at::zeros_like(numbers);
        require_fit(second_ == nullptr      ? whole(numbers, {})
                    : array == first_.get() ? whole(numbers, none)
                                            : whole(none, numbers),
                    first);
      });
    }
    return hash_text(files_hash(files_) + "\nlatents\n" + meaning_);
  }

private:
  /// `second`: the deviations, if `first` does not hold log-variances.
  ArrayLatents(std::shared_ptr<ArrayRows> first, std::shared_ptr<ArrayRows> second)
      : SourceImages(first->what(), shape_of(*first, second.get())),
        first_(std::move(first)),
        second_(std::move(second)) {}

  static ImageSetShape shape_of(const ArrayRows& first, const ArrayRows* second) {
    const std::vector<std::int64_t>& shape = first.shape();
    if (second == nullptr && shape[1] % 2 != 0)
      refuse("{} is {}; expected [N, 2 C, h, w]: the means of C channels, then their log-variances", first.what(),
             first.description());
    if (second != nullptr && second->shape() != shape)
      refuse("{} is {}, but {} is {}: a deviation for each mean is expected", first.what(), first.description(),
             second->what(), second->description());
    return {shape[0], second == nullptr ? shape[1] : 2 * shape[1], shape[2], shape[3]};
  }
  static at::Tensor read_numbers(ArrayRows& array, std::int64_t first, std::int64_t count) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * array.row_bytes());
    array.read(first, count, bytes);
    note_progress();
    return numbers_of(array, count, bytes);
  }
  /// Rows as they are stored, float16, of means and deviations; of moments where there are no deviations.
  static at::Tensor whole(const at::Tensor& first, const at::Tensor& second) {
    if (second.defined()) return at::cat({first, second}, 1).to(at::kHalf);
    const std::vector<at::Tensor> halves = first.chunk(2, 1);
    const at::Tensor log_variance = halves[1].clamp(least_log_variance, largest_log_variance);
    return at::cat({halves[0], log_variance.mul(0.5).exp()}, 1).to(at::kHalf);
  }
  void require_fit(const at::Tensor& rows, std::int64_t first) const {
    if (const auto unfit = unfit_latent(rows)) fail("{}: {}", image_name(first + unfit->row), unfit->what);
  }

  std::shared_ptr<ArrayRows> first_, second_;  ///< means and deviations; or moments alone
  std::vector<std::int32_t> labels_ = {};
  std::string meaning_ = {};
  std::vector<std::filesystem::path> files_ = {};
};

std::int64_t classes_of_latents(const SourceImages& images, const LatentNames& names) {
  std::int64_t classes = 0;
  for (std::int64_t i = 0; i < images.shape().images && !names.labels.empty(); ++i)
    classes = std::max(classes, images.label(i) + 1);
  return classes;
}

/// "left aside: arrays 'moments_flip'"; "" where all are read.
std::string others_note(std::vector<std::string> names, const LatentNames& train, const LatentNames& test) {
  for (const LatentNames& used : {train, test})
    for (const std::string& name : {used.moments, used.mean, used.deviation, used.labels}) std::erase(names, name);
  return names.empty() ? "" : fmt::format("left aside: arrays '{}'", fmt::join(names, "', '"));
}

}  // namespace

bool are_latents(const std::vector<std::string>& arrays) {
  return std::ranges::any_of(training_prefixes, [&](std::string_view prefix) {
    const LatentNames found = names_with(arrays, prefix);
    return !found.moments.empty() || (!found.mean.empty() && !found.deviation.empty());
  });
}

bool are_latent_arrays(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 3> stems{"moments", "mean", "std"};
  const auto is_array_name = [&](const fs::path& name) {
    return name.extension() != ".npy" || std::ranges::find(stems, name.stem().string()) != stems.end();
  };
  switch (file_set_kind(path)) {
    case FileSetKind::folder:
      return std::ranges::any_of(array_files(path), is_array_name);
    case FileSetKind::zip: {
      // An .npz file is one of arrays that are called so.
      const auto files = open_zip(path);
      return std::ranges::any_of(training_prefixes, [&](std::string_view prefix) {
        return std::ranges::any_of(stems, [&](std::string_view stem) {
          return files->find(fmt::format("{}{}.npy", prefix, stem)).has_value();
        });
      });
    }
    case FileSetKind::none:
      return is_there(path);
    default:
      return false;
  }
}

ImageSource open_latent_arrays(const SourceOptions& options) {
  const std::shared_ptr<ArrayFile> file = open_array_file(options.folder, options.arrays.scratch);
  const std::string what = options.folder.string();
  const std::vector<std::string> names = file->file->names();
  const LatentNames train = first_names(names, training_prefixes), test = first_names(names, held_out_prefixes);
  if (!train.are_there())
    refuse(
        "{}: holds no latents: expected the arrays mean and std, [N, C, h, w], or moments, [N, 2 C, h, w]; it has {}",
        what, contents_text(*file->file));
  require_pair(train, what);
  auto images = std::make_unique<ArrayLatents>(file, train, options);
  const std::int64_t train_classes = classes_of_latents(*images, train);
  const std::string others = others_note(names, train, test);
  ImageSource source;
  if (!test.are_there()) {
    source = held_out_source(std::move(images), train_classes, options.held_out);
    source.notes.insert(source.notes.begin(), "latents: " + train.text());
  } else {
    require_pair(test, what);
    if (train.labels.empty() != test.labels.empty())
      refuse("{}: the latents of one split have labels, and those of the other have none", what);
    auto held_out = std::make_unique<ArrayLatents>(file, test, options);
    source.classes = std::max(train_classes, classes_of_latents(*held_out, test));
    source.train = std::move(images);
    source.test = std::move(held_out);
    source.notes = {"training: " + train.text(), "held out: " + test.text()};
  }
  if (!others.empty()) source.notes.push_back(others);
  return source;
}

}  // namespace couplet
