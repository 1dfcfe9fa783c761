// IDX files of grey images and of their labels, as the MNIST family has them.
#include "storage/formats/idx.h"
#include "method/data/image_source.h"
#include "storage/error.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <span>
#include <utility>

namespace couplet {
namespace {

/// The files of one split; `labels` is empty where there are none.
struct SplitFiles {
  std::filesystem::path images, labels;
};

SplitFiles files_of(const std::filesystem::path& folder, const std::string& images, const std::string& labels) {
  return {folder / images, labels.empty() ? std::filesystem::path() : folder / labels};
}

std::vector<std::uint8_t> read_labels(const SplitFiles& files, std::int64_t images) {
  if (files.labels.empty()) return {};
  IdxFile labels(files.labels);
  if (labels.shape().size() != 1) {
    fail("{}: {} axes; labels have 1 — were images and labels swapped?", files.labels.string(), labels.shape().size());
  }
  if (labels.shape()[0] != images) {
    fail("{} holds {} images but {} holds {} labels: they are not of one data set", files.images.string(), images,
         files.labels.string(), labels.shape()[0]);
  }
  return labels.read_all();
}

class IdxImages : public SourceImages {
public:
  explicit IdxImages(const SplitFiles& files) : IdxImages(files, IdxFile(files.images)) {}

  at::Tensor read(std::int64_t first, std::int64_t count) override {
    at::Tensor images = at::empty({count, 1, shape().height, shape().width}, at::kByte);
    images_.read(first, count, {images.mutable_data_ptr<std::uint8_t>(), static_cast<std::size_t>(images.numel())});
    return images;
  }
  std::int64_t label(std::int64_t image) const override {
    return labels_.empty() ? 0 : labels_[static_cast<std::size_t>(image)];
  }
  /// Images that are not used must be there, too: a file that is cut short was not fetched whole.
  std::string content_hash() const override {
    IdxFile(files_.images).require_whole();
    return files_.labels.empty() ? files_hash({files_.images}) : files_hash({files_.images, files_.labels});
  }
  std::int64_t classes() const { return labels_.empty() ? 0 : std::int64_t{*std::ranges::max_element(labels_)} + 1; }

private:
  IdxImages(SplitFiles files, IdxFile images)
      : SourceImages(files.images.string(), shape_of(files, images)),
        files_(std::move(files)),
        images_(std::move(images)),
        labels_(read_labels(files_, shape().images)) {}

  static ImageSetShape shape_of(const SplitFiles& files, const IdxFile& images) {
    const std::vector<std::int64_t>& shape = images.shape();
    if (shape.size() != 3)
      fail("{}: {} axes; images have 3 (items, height, width)", files.images.string(), shape.size());
    return {shape[0], 1, shape[1], shape[2]};
  }

  SplitFiles files_;
  IdxFile images_;
  std::vector<std::uint8_t> labels_;
};

ImageSource open_idx(const SourceOptions& options) {
  if (options.train_labels.empty() != options.test_labels.empty()) {
    refuse("prepare.train-labels = {}, prepare.test-labels = {}: the images of both splits have labels, or of none",
           options.train_labels, options.test_labels);
  }
  auto train = std::make_unique<IdxImages>(files_of(options.folder, options.train_images, options.train_labels));
  auto test = std::make_unique<IdxImages>(files_of(options.folder, options.test_images, options.test_labels));
  const std::int64_t classes = std::max(train->classes(), test->classes());
  return {classes, std::move(train), std::move(test)};
}

std::vector<SourceFile> idx_files(const SourceOptions& options) {
  std::vector<SourceFile> files;
  const auto add = [&](const std::string& name, const char* key) {
    if (!name.empty()) files.push_back({options.folder / name, key});
  };
  add(options.train_images, "prepare.train-images");
  add(options.train_labels, "prepare.train-labels");
  add(options.test_images, "prepare.test-images");
  add(options.test_labels, "prepare.test-labels");
  return files;
}

}  // namespace

SourceKind idx_source() {
  return {"idx", "IDX files of grey images and of their labels, gzipped or not, as MNIST has them", open_idx,
          idx_files};
}

}  // namespace couplet
