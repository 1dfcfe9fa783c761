// What a network says of a set of images.
#pragma once

#include "method/data/image_set.h"
#include "method/features/feature_network.h"
#include "method/metrics/frechet.h"
#include "method/metrics/inception_score.h"
#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace couplet {

/// Values that a network gives of an image.
struct FeatureWidths {
  std::int64_t features = 0;
  std::int64_t spatial = 0, classes = 0;  ///< 0: none, or not wanted

  std::int64_t all() const { return features + spatial + classes; }
};

FeatureWidths widths_of(const ImageFeatures& made);
/// What of it has a width: float32 [n, widths.all()], features first.
at::Tensor joined(const ImageFeatures& made, const FeatureWidths& widths);

// Of which of `all` images features are kept: int64 [min(kept, all)], ascending.

/// Rows at even distances, of images of a data set.
at::Tensor even_rows(std::int64_t all, std::int64_t kept);
/// Rows that are drawn, always the same, of samples: these may come in the order of their classes, or with the classes
/// in turn, of which even distances would skip some.
at::Tensor drawn_rows(std::int64_t all, std::int64_t kept);

/// Images are added in their order; kept are sums, and the features of some images.
class DescribedImages {
public:
  /// `images` in all, of which those of the rows `kept` (ascending) keep their features; `what` is what errors call
  /// them, and the network. There is an inception score where there are class scores of ten images or more.
  DescribedImages(std::string what, const FeatureWidths& widths, std::int64_t images, at::Tensor kept);
  /// The next images: [n, widths.all()], of any floating type that holds float32. Features that are not finite are an
  /// error that names the images and the network.
  void add(const at::Tensor& values);

  const at::Tensor& features() const { return features_; }  ///< float32 [kept, widths.features]
  const Moments& moments() const { return moments_; }
  const std::optional<Moments>& spatial() const { return spatial_; }
  const std::optional<InceptionScore>& inception() const { return inception_; }

private:
  void require_finite(const at::Tensor& values) const;

  std::string what_;
  FeatureWidths widths_;
  std::int64_t added_ = 0;
  at::Tensor kept_, features_;
  Moments moments_;
  std::optional<Moments> spatial_;
  std::optional<InceptionScore> inception_;
};

/// All images of a set, the features of the rows `kept` kept, in slices of 250 images that the ranks take in turn: the
/// same digits on any number of ranks, equal on all of them. Collective: an error of one rank (an image that cannot be
/// read) is thrown on every one. `stopped`: the message of Interrupted when a stop is asked for; empty: all are
/// described.
DescribedImages describe_images(FeatureNetwork& network, ImageSet& images, const at::Tensor& kept,
                                const std::string& stopped, Communicator& communicator);

}  // namespace couplet
