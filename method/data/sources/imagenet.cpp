// ImageNet reduced to 64, 32, 16 or 8 pixels (arXiv 1707.08819): the .npz batches of its authors, in which a row is the
// planes of red, green and blue of one image, and labels count from 1 in the order of the development kit.
#include "method/data/array_images.h"
#include "method/data/image_source.h"
#include "method/data/imagenet_classes.h"
#include "storage/error.h"
#include "storage/filesystem.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace couplet {
namespace {

constexpr int train_batches = 10;

std::vector<fs::path> training_batches(const fs::path& folder) {
  std::vector<fs::path> files;
  for (int i = 1; i <= train_batches; ++i) files.push_back(folder / fmt::format("train_data_batch_{}.npz", i));
  return files;
}

fs::path validation_batch(const fs::path& folder) {
  return folder / "val_data.npz";
}

bool has_batches(const fs::path& folder) {
  return std::ranges::all_of(training_batches(folder), is_there) && is_there(validation_batch(folder));
}

void require_batches(const std::vector<fs::path>& files) {
  for (const fs::path& path : files) {
    if (is_there(path)) continue;
    fs::path pickled = path;
    if (is_there(pickled.replace_extension()))
      refuse("{}: is ImageNet's pickled version, which is read by running what is in it; fetch the .npz version, {}",
             pickled.string(), path.filename().string());
    refuse(
        "{} is missing: ImageNet's batches are train_data_batch_1.npz to train_data_batch_{}.npz and val_data.npz (of "
        "64 pixels, training is in two archives: Imagenet64_train_part1_npz.zip and part2)",
        path.string(), train_batches);
  }
}

/// The rows of a batch: [N, 3 · S · S] bytes, red, green, blue.
ArrayPixels batch_pixels(const ArrayRows& images) {
  const std::int64_t values = images.shape().size() == 2 ? images.shape()[1] : 0;
  const std::int64_t side = std::llround(std::sqrt(static_cast<double>(values) / 3));
  if (images.type() != NumberType{'u', 1} || values == 0 || 3 * side * side != values)
    refuse("{} is {}; expected uint8 [N, 3 · S · S]: the red, green and blue planes of square images", images.what(),
           images.description());
  return {.channels = 3, .height = side, .width = side};
}

/// The array of a batch; `from` names it in messages.
std::shared_ptr<ArrayRows> batch_array(const std::shared_ptr<ArrayFile>& file, const std::string& name) {
  const std::vector<std::string> names = file->file->names();
  if (std::ranges::find(names, name) == names.end())
    refuse("{}: has no array '{}'; ImageNet's batches have data and labels; it has {}", file->name, name,
           contents_text(*file->file));
  return std::make_shared<ArrayRows>(file, name);
}

/// Batches, one after the other, as one split. `classes`: of each number of the development kit, its class.
std::unique_ptr<ArrayImages> open_batches(const std::string& name, std::vector<fs::path> files,
                                          const std::vector<std::int32_t>& classes, const SourceOptions& options) {
  ImageArrays split;
  split.name = name;
  for (const fs::path& path : files) {
    const std::shared_ptr<ArrayFile> file = open_array_file(path, options.arrays.scratch);
    const std::shared_ptr<ArrayRows> images = batch_array(file, "data");
    const ArrayPixels pixels = batch_pixels(*images);
    if (!split.arrays.empty() && pixels.width != split.pixels.width)
      refuse("{}: its images are of {} pixels, those of {} of {}: the batches of a data set are of one size",
             images->what(), pixels.width, split.arrays.front()->what(), split.pixels.width);
    split.pixels = pixels;
    for (const std::int32_t number : array_labels(*batch_array(file, "labels"), *images, 1, imagenet_class_count))
      split.labels.push_back(classes[static_cast<std::size_t>(number)]);
    split.arrays.push_back(images);
  }
  split.files = std::move(files);
  split.meaning = options.label_order;
  return std::make_unique<ArrayImages>(std::move(split));
}

ImageSource open_imagenet(const SourceOptions& options) {
  if (options.label_order != "devkit" && options.label_order != "wnid")
    refuse(
        "prepare.label-order = {}: expected devkit (as the batches number the classes) or wnid (as folders of "
        "ImageNet sort them)",
        options.label_order);
  std::vector<fs::path> train = training_batches(options.folder), test{validation_batch(options.folder)};
  require_batches(train);
  require_batches(test);
  std::vector<std::int32_t> classes = imagenet_sorted_classes();
  std::vector<std::string> names(classes.size());
  for (std::int32_t i = 0; i < imagenet_class_count; ++i) {
    std::int32_t& place = classes[static_cast<std::size_t>(i)];
    if (options.label_order == "devkit") place = i;
    names[static_cast<std::size_t>(place)] = imagenet_wnid(i);
  }
  const std::string folder = options.folder.string();
  return {.classes = imagenet_class_count,
          .train = open_batches(folder + ", training", std::move(train), classes, options),
          .test = open_batches(folder + ", validation", std::move(test), classes, options),
          .class_names = std::move(names),
          .notes = {fmt::format("classes in the order {}", options.label_order)},
          .provenance = {{"label_order", options.label_order}}};
}

std::vector<SourceFile> imagenet_files(const SourceOptions& options) {
  std::vector<SourceFile> files;
  // Opening says best what a folder lacks.
  if (is_there(options.folder) && !has_batches(options.folder)) return files;
  for (fs::path& path : training_batches(options.folder)) files.push_back({std::move(path), "prepare.source"});
  files.push_back({validation_batch(options.folder), "prepare.source"});
  return files;
}

}  // namespace

SourceKind imagenet_source() {
  return {"imagenet", "ImageNet at 64, 32, 16 or 8 pixels: the .npz batches of its authors", open_imagenet,
          imagenet_files};
}

}  // namespace couplet
