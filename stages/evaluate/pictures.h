// The pictures of an evaluation: samples, samples beside the training images nearest to them, and trajectories.
#pragma once

#include "method/data/codec.h"
#include "method/data/low_resolution.h"
#include "method/scoring/feature_comparison.h"
#include "method/scoring/scorer.h"
#include "pipeline/distributed/communicator.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace couplet {

/// Images that a sheet of this many rows shows at most: ten a row, whatever the number of classes.
std::int64_t sheet_images(std::int64_t rows);
/// Publishes samples (uint8 [n, C, H, W]) as a sheet: ten a row, fewer where there are fewer.
void publish_sheet(const std::filesystem::path& path, const at::Tensor& images);

/// Publishes images, as models see them, at each of several times (float [n, C, H, W] each): a row an image, its states
/// from left to right.
void publish_trajectory(const std::filesystem::path& path, const std::vector<at::Tensor>& states, const Codec& codec);

/// Publishes restorations, three a row: of each the low resolution of the image, what was made of that, and the image.
/// `made`, `images`: uint8 [n, C, H, W].
void publish_restorations(const std::filesystem::path& path, const at::Tensor& made, const at::Tensor& images,
                          const LowResolution& low);

/// What has been learnt by heart is seen at a glance: publishes the first samples of a score, up to ten a row and four
/// rows, under each row the training images whose features are nearest to theirs. `real`: features of rows of `train`
/// at even distances. Collective; nothing where the score has no features.
void publish_nearest_picture(const std::filesystem::path& path, const SampleScore& score, const RealFeatures& real,
                             const RowTable& train, Communicator& communicator);

}  // namespace couplet
