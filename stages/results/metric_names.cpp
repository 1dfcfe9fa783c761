#include "stages/results/metric_names.h"

#include <algorithm>

namespace couplet {

const std::vector<MetricName>& sample_metrics() {
  using enum Better;
  static const std::vector<MetricName> all{{"kernel_distance", "kernel distance", lower},
                                           {"spatial_frechet_distance", "spatial Fréchet distance", lower},
                                           {"inception_score", "inception score", higher},
                                           {"precision", "precision", higher},
                                           {"recall", "recall", higher},
                                           {"density", "density", higher},
                                           {"coverage", "coverage", higher},
                                           {"class_accuracy", "class accuracy", higher},
                                           {"energy_distance", "energy distance", lower},
                                           {"log_density", "log-density", higher},
                                           {"nearest_training_ratio", "nearest training image", neither}};
  return all;
}

const std::vector<MetricName>& model_metrics() {
  using enum Better;
  static const std::vector<MetricName> all{{"frechet_distance", "Fréchet distance", lower},
                                           {"wasserstein_distance", "Wasserstein distance", lower},
                                           {"curvature", "curvature κ", lower},
                                           {"straightness", "straightness", higher},
                                           {"transport_cost", "transport cost", lower},
                                           {"solver_error", "solver error", lower},
                                           {"prior_mismatch", "prior mismatch", lower},
                                           {"bits_per_dim", "bits/dim", lower},
                                           {"noised_bits_per_dim", "bits/dim of noised images", neither},
                                           {"nats", "negative log-likelihood in nats", lower},
                                           {"pairing_distance_ratio", "pairing distance", lower},
                                           {"pairing_nearest_rate", "pairing rate", higher},
                                           {"psnr", "PSNR", higher},
                                           {"ssim", "SSIM", higher},
                                           {"teacher_distance", "distance from the teacher", lower}};
  return all;
}

const std::vector<MetricName>& restoration_metrics() {
  using enum Better;
  static const std::vector<MetricName> all{{"held_out_frechet_distance", "Fréchet distance to held-out images", lower},
                                           {"restoration_psnr", "PSNR of restored images", higher},
                                           {"restoration_ssim", "SSIM of restored images", higher},
                                           {"restoration_psnr_luminance", "PSNR of their luminance", higher},
                                           {"restoration_ssim_luminance", "SSIM of their luminance", higher},
                                           {"consistency", "consistency with the low resolution", lower}};
  return all;
}

const std::vector<MetricName>& noise_metrics() {
  using enum Better;
  static const std::vector<MetricName> all{{"noise_log_density", "log-density of noise under N(0, I)", higher},
                                           {"noise_square", "‖z‖²/d", neither},
                                           {"noise_skewness", "skewness of noise", neither},
                                           {"noise_kurtosis", "kurtosis of noise", neither},
                                           {"noise_frechet_distance", "Fréchet distance of noise to N(0, I)", lower},
                                           {"class_mean_nats", "nats gained by class means", lower},
                                           {"class_deviation_nats", "nats gained by class means and deviations", lower},
                                           {"covariance_nats", "nats gained by one covariance", lower},
                                           {"class_covariance_nats", "nats gained by class covariances", lower},
                                           {"nll_difference", "nats by which held-out rows are less likely", lower},
                                           {"normal_nats_difference", "the same under N(0, I)", lower},
                                           {"nats_closed", "nats closed by all maps of a table", higher},
                                           {"noise_auc", "area under a noise classifier's curve", lower},
                                           {"noise_log_ratio", "nats that a noise classifier finds", lower}};
  return all;
}

MetricName metric_name(const std::string& metric) {
  for (const auto* list : {&sample_metrics(), &model_metrics(), &restoration_metrics(), &noise_metrics()}) {
    const auto found = std::ranges::find(*list, metric, &MetricName::metric);
    if (found != list->end()) return *found;
  }
  return {metric, metric, Better::neither};
}

}  // namespace couplet
