#include "stages/results/metric_names.h"

#include <algorithm>

namespace couplet {

std::string MetricName::direction() const {
  switch (better) {
    case Better::lower:
      return "lower is better";
    case Better::higher:
      return "higher is better";
    case Better::neither:
      break;
  }
  return "";
}

const std::vector<MetricName>& sample_metrics() {
  using enum Better;
  static const std::vector<MetricName> all{
      {"kernel_distance", "kernel distance", "squared maximum mean discrepancy of the features, cubic kernel", lower},
      {"spatial_frechet_distance", "spatial Fréchet distance",
       "the distance over features that keep their place in the image", lower},
      {"inception_score", "inception score",
       "how sure the network is of each sample's class and how varied the classes are", higher},
      {"precision", "precision", "share of samples that lie among the training images", higher},
      {"recall", "recall", "share of training images that lie among the samples", higher},
      {"density", "density", "how many training images' neighbourhoods a sample lies in, about 1 for real images",
       higher},
      {"coverage", "coverage", "share of training images with a sample in their neighbourhood", higher},
      {"class_accuracy", "class accuracy", "share of samples that the classifier gives the label asked for", higher},
      {"nearest_training_ratio", "nearest training image",
       "distance to it over that of held-out images: well below 1, samples are copies", neither}};
  return all;
}

const std::vector<MetricName>& model_metrics() {
  using enum Better;
  static const std::vector<MetricName> all{
      {"frechet_distance", "Fréchet distance", "between the features of samples and of training images", lower},
      {"curvature", "curvature κ", "how far velocities are from the straight way, over a whole path", lower},
      {"straightness", "straightness", "the way there over the way gone", higher},
      {"transport_cost", "transport cost", "squared length of the way there", lower},
      {"prior_mismatch", "prior mismatch", "Fréchet distance from fresh noise less that from held-out table noise",
       lower},
      {"bits_per_dim", "bits/dim", "negative log-likelihood of held-out images", lower},
      {"noised_bits_per_dim", "bits/dim of noised images",
       "of held-out images with the teacher's noise on them: not comparable with bits/dim", neither},
      {"pairing_distance_ratio", "pairing distance", "to the pair's image, over the class's median distance", lower},
      {"pairing_nearest_rate", "pairing rate", "share of rows whose image is the nearest of a pool", higher},
      {"psnr", "PSNR", "peak signal-to-noise ratio to the paired image, dB", higher},
      {"ssim", "SSIM", "structural similarity to the paired image", higher},
      {"teacher_distance", "distance from the teacher", "to the teacher's image of the same noise", lower}};
  return all;
}

MetricName metric_name(const std::string& metric) {
  for (const auto* list : {&sample_metrics(), &model_metrics()}) {
    const auto found = std::ranges::find(*list, metric, &MetricName::metric);
    if (found != list->end()) return *found;
  }
  return {metric, metric, "", Better::neither};
}

}  // namespace couplet
