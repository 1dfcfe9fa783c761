// Arrays of images and labels: .npz, .npy and HDF5 files.
#include "method/data/array_images.h"
#include "method/data/image_source.h"
#include "method/data/selected_images.h"
#include "storage/filesystem.h"
#include "storage/formats/array_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace couplet {
namespace {

/// The images of one split with their labels.
std::unique_ptr<ArrayImages> array_split(const std::shared_ptr<ArrayFile>& file, const SplitNames& names,
                                         const SourceOptions& options) {
  ImageArrays split;
  const auto images = std::make_shared<ArrayRows>(file, names.images);
  split.name = images->what();
  split.arrays = {images};
  split.pixels = array_pixels(*images, options.arrays);
  if (!names.labels.empty()) {
    ArrayRows labels(file, names.labels);
    split.labels = array_labels(labels, *images);
  }
  split.files = array_files(options.folder);
  split.meaning = fmt::format("{}\n{}", names.images, names.labels);
  return std::make_unique<ArrayImages>(std::move(split));
}

/// How many classes the labels are of; 0 where there are none.
std::int64_t classes_in(const SourceImages& images, const SplitNames& names) {
  if (names.labels.empty()) return 0;
  std::int64_t classes = 0;
  for (std::int64_t i = 0; i < images.shape().images; ++i) classes = std::max(classes, images.label(i) + 1);
  return classes;
}

/// "training: array 'x_train', labels 'y_train'"
std::string split_note(const char* split, const SplitNames& names) {
  return fmt::format("{}: array '{}', {}", split, names.images,
                     names.labels.empty() ? "no labels" : fmt::format("labels '{}'", names.labels));
}

ImageSource open_array_source(const SourceOptions& options) {
  const std::shared_ptr<ArrayFile> file = open_array_file(options.folder, options.arrays.scratch);
  const ArrayNames names = find_array_names(*file->file, options.folder.string(), options.arrays);
  auto train = array_split(file, names.train, options);
  const std::int64_t train_classes = classes_in(*train, names.train);
  ImageSource source;
  if (names.test.images.empty()) {
    source = held_out_source(std::move(train), train_classes, options.held_out);
    source.notes.insert(source.notes.begin(), split_note("images", names.train));
    return source;
  }
  auto test = array_split(file, names.test, options);
  source.classes = std::max(train_classes, classes_in(*test, names.test));
  source.train = std::move(train);
  source.test = std::move(test);
  source.notes = {split_note("training", names.train), split_note("held out", names.test)};
  return source;
}

std::vector<SourceFile> array_source_files(const SourceOptions& options) {
  std::vector<SourceFile> files;
  for (const std::filesystem::path& path : array_files(options.folder)) files.push_back({path, "prepare.source"});
  if (files.empty() && !is_there(options.folder)) files.push_back({options.folder, "prepare.source"});
  return files;
}

}  // namespace

SourceKind arrays_source() {
  return {"arrays", "arrays of images and labels in .npz, .npy or HDF5 files", open_array_source, array_source_files};
}

}  // namespace couplet
