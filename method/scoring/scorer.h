// Scores of generated images against the training set, in fixed slices: the same digits on any number of ranks.
#pragma once

#include "method/data/codec.h"
#include "method/features/feature_network.h"
#include "method/models/classifier.h"
#include "method/scoring/feature_comparison.h"
#include "method/scoring/point_comparison.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/distributed/slices.h"

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// Images, as models see them or as pixels, made for samples [first, first + count), and the labels they were asked
/// for. One call may give several variants of the same samples.
struct Generated {
  std::vector<at::Tensor> variants;  ///< each [count, C, H, W]: float as models see it, or uint8 pixels
  at::Tensor labels;                 ///< int64 [count]
  std::int64_t nfe = 0;              ///< evaluations of the field that the batch took
  at::Tensor figures = {};           ///< float [count, n]: further figures of each sample, of one variant alone
};
using Generator = std::function<Generated(std::int64_t first, std::int64_t count)>;

struct SampleScore {
  double frechet_distance = 0;  ///< 0 where nothing is compared by features
  /// That distance and the other metrics (compare_features), or those of points (compare_points); empty: nothing is
  /// compared.
  std::vector<FeatureScore> comparison;
  at::Tensor points;                     ///< float32 [samples, values]: the samples, where they are points
  at::Tensor features;                   ///< float32 [pictures, dimension]: of the first samples; none: no network
  std::optional<double> class_accuracy;  ///< share of samples that the classifier gives the label they were asked for
  std::int64_t samples = 0;
  std::int64_t nonfinite =
      0;                ///< samples with NaN or infinite values: scored with those values at 0, never drawn again
  double nfe_mean = 0;  ///< evaluations of the field, a sample
  std::int64_t nfe_least = 0, nfe_most = 0;  ///< of any batch
  at::Tensor figures;                        ///< float64 [n]: means of the generator's own
  at::Tensor pictures;                       ///< uint8 [n, C, H, W]: the first samples; on rank 0
};

/// What a scorer compares samples by and with.
struct ScorerReference {
  std::shared_ptr<FeatureNetwork> network = {};    ///< none: the classifier's features, or no comparison without one
  FeatureWidths widths = {};                       ///< what is taken of it
  std::int64_t compared_images = 0;                ///< samples of a score whose features are kept
  std::optional<FeatureReference> reference = {};  ///< none: samples are not compared with real images
  std::optional<PointReference> points = {};       ///< samples are points, compared with these; no network
};

class Scorer {
public:
  /// `classifier` counts class accuracy; without one it is not counted. `codec` is the data set's, which decodes
  /// samples. `stopped` is the message of Interrupted when a stop is asked for between slices; if it is empty, all
  /// slices are computed.
  Scorer(std::optional<Classifier> classifier, std::shared_ptr<const Codec> codec, ScorerReference basis,
         std::int64_t slice_rows, std::int64_t pictures, std::string stopped, Communicator& communicator,
         c10::Device device);
  /// Scores `samples` samples, one score a variant; the figures on every rank. Collective. Images are decoded to 8-bit
  /// pixels first. Goes on with the samples that the journal holds. `figures`: how many the generator
  /// gives of each sample.
  std::vector<SampleScore> score(const Generator& generate, std::size_t variants, std::int64_t samples,
                                 const SliceJournal& journal = {}, std::int64_t figures = 0);

private:
  at::Tensor pixels_of(const at::Tensor& images) const;
  at::Tensor describe(const at::Tensor& images, const at::Tensor& labels, std::int64_t nfe);
  void finish(SampleScore& score) const;
  /// Compares the images with the reference.
  void compare(SampleScore& score, const DescribedImages& images);
  void compare_as_points(SampleScore& score);

  std::optional<Classifier> classifier_;
  std::shared_ptr<const Codec> codec_;
  ScorerReference basis_;
  std::int64_t slice_rows_, pictures_;
  std::string stopped_;
  Communicator& communicator_;
  c10::Device device_;
};

}  // namespace couplet
