#include "stages/evaluate/pictures.h"

#include "method/data/images.h"
#include "pipeline/loader/table_rows.h"
#include "storage/formats/picture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t sheet_columns = 10, nearest_rows = 4;
constexpr std::int64_t restorations_a_row = 3, most_restorations = 12;

/// [n, C, H, W] and as many under them, as rows of `width` images in turn.
at::Tensor interleaved(const at::Tensor& above, const at::Tensor& below, std::int64_t width) {
  std::vector<at::Tensor> rows;
  for (std::int64_t first = 0; first < above.size(0); first += width)
    for (const at::Tensor& images : {above, below}) rows.push_back(images.narrow(0, first, width));
  return at::cat(rows);
}

/// `columns` images a row.
void publish_pictures(const std::filesystem::path& path, const at::Tensor& images, std::int64_t columns) {
  std::filesystem::create_directories(path.parent_path());
  write_png(path, picture_of(images, columns));
}

}  // namespace

std::int64_t sheet_images(std::int64_t rows) {
  return sheet_columns * rows;
}

void publish_sheet(const std::filesystem::path& path, const at::Tensor& images) {
  publish_pictures(path, images, std::min(images.size(0), sheet_columns));
}

void publish_trajectory(const std::filesystem::path& path, const std::vector<at::Tensor>& states, const Codec& codec) {
  publish_pictures(path, codec.decode(at::stack(states, 1).flatten(0, 1)).cpu(), std::ssize(states));
}

void publish_restorations(const std::filesystem::path& path, const at::Tensor& made, const at::Tensor& images,
                          const LowResolution& low) {
  const std::int64_t count = std::min(made.size(0), most_restorations);
  publish_pictures(path, restoration_panels(made.narrow(0, 0, count), images.narrow(0, 0, count), low),
                   3 * std::min(count, restorations_a_row));
}

void publish_nearest_picture(const std::filesystem::path& path, const SampleScore& score, const RealFeatures& real,
                             const RowTable& train, Communicator& communicator) {
  // Rank 0 has the pictures.
  const std::int64_t pictured = communicator.maximum(score.pictures.defined() ? score.pictures.size(0) : 0);
  if (pictured < 1 || !score.features.defined()) return;
  const std::int64_t there = std::min(pictured, sheet_columns * nearest_rows);
  const std::int64_t width = std::min(there, sheet_columns), shown = there - there % width;
  const at::Tensor rows = real.nearest(score.features.narrow(0, 0, shown), communicator);
  if (!communicator.is_root()) return;
  std::vector<at::Tensor> nearest;
  for (std::int64_t i = 0; i < shown; ++i)
    nearest.push_back(read_rows(train, "image", rows[i].item<std::int64_t>() * train.rows() / real.rows(), 1));
  const at::Tensor pixels = codec_of(train)->pixels(at::cat(nearest));
  publish_pictures(path, interleaved(score.pictures.narrow(0, 0, shown), pixels, width), width);
}

}  // namespace couplet
