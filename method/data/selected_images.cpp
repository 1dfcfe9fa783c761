#include "method/data/selected_images.h"

#include "storage/error.h"
#include "storage/files/hash.h"

#include <ATen/ops/cat.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <mutex>
#include <utility>

namespace couplet {
namespace {

/// The images that two splits share. Their hash is of all their bytes, and asked for by both.
struct SharedImages {
  std::unique_ptr<SourceImages> images;
  std::mutex mutex = {};
  std::string hash = {};

  std::string content_hash() {
    const std::lock_guard lock(mutex);
    if (hash.empty()) hash = images->content_hash();
    return hash;
  }
};

class SelectedImages : public SourceImages {
public:
  /// The images of these rows, which ascend. `part` says what decides which rows they are.
  SelectedImages(std::shared_ptr<SharedImages> all, std::vector<std::int64_t> rows, std::string part)
      : SourceImages(fmt::format("{} ({})", all->images->name(), part), shape_of(*all->images, rows)),
        all_(std::move(all)),
        rows_(std::move(rows)),
        part_(std::move(part)) {}

  ElementType type() const override { return all_->images->type(); }
  at::Tensor read(std::int64_t first, std::int64_t count) override {
    std::vector<at::Tensor> runs;
    for (std::int64_t i = first, end = first; i < first + count; i = end) {
      while (end < first + count && row(end) == row(i) + (end - i)) ++end;
      runs.push_back(all_->images->read(row(i), end - i));
    }
    return runs.size() == 1 ? runs.front() : at::cat(runs);
  }
  at::Tensor read_images(const std::vector<std::int64_t>& images) override {
    std::vector<std::int64_t> rows;
    for (const std::int64_t image : images) rows.push_back(row(image));
    return all_->images->read_images(rows);
  }
  std::string file_line(std::int64_t image) const override { return all_->images->file_line(row(image)); }
  std::int64_t label(std::int64_t image) const override { return all_->images->label(row(image)); }
  std::string image_name(std::int64_t image) const override { return all_->images->image_name(row(image)); }
  std::string content_hash() const override { return hash_text(all_->content_hash() + "\n" + part_); }

private:
  static ImageSetShape shape_of(const SourceImages& all, const std::vector<std::int64_t>& rows) {
    ImageSetShape shape = all.shape();
    shape.images = static_cast<std::int64_t>(rows.size());
    return shape;
  }
  std::int64_t row(std::int64_t image) const { return rows_[static_cast<std::size_t>(image)]; }

  std::shared_ptr<SharedImages> all_;
  std::vector<std::int64_t> rows_;
  std::string part_;
};

/// The class of each image; none where there are no classes.
std::vector<std::int32_t> known_labels(const SourceImages& images, std::int64_t classes) {
  std::vector<std::int32_t> labels;
  if (classes == 0) return labels;
  labels.reserve(static_cast<std::size_t>(images.shape().images));
  for (std::int64_t i = 0; i < images.shape().images; ++i) labels.push_back(static_cast<std::int32_t>(images.label(i)));
  return labels;
}

}  // namespace

ImageSource held_out_source(std::unique_ptr<SourceImages> all, std::int64_t classes, const HeldOutOptions& options,
                            std::vector<std::string> class_names) {
  HeldOutSplit split = hold_out(all->name(), all->shape().images, known_labels(*all, classes), options);
  const auto shared = std::make_shared<SharedImages>(std::move(all));
  return {.classes = classes,
          .train = std::make_unique<SelectedImages>(shared, std::move(split.train), "all but " + options.text()),
          .test = std::make_unique<SelectedImages>(shared, std::move(split.test), options.text()),
          .class_names = std::move(class_names),
          .notes = {"held out: " + options.text()},
          .provenance = {{"held_out", options.text()}}};
}

}  // namespace couplet
