#include "method/scoring/image_score.h"

#include "method/data/image_set.h"
#include "method/metrics/image_similarity.h"
#include "method/metrics/nearest_images.h"
#include "method/scoring/feature_comparison.h"
#include "method/scoring/reference_statistics.h"
#include "method/scoring/sample_labels.h"
#include "storage/error.h"
#include "storage/formats/npz.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t pairs_at_once = 250;

/// What samples are compared with. A file may hold both, as ADM's reference batches do: images of which the statistics
/// need not be.
struct Reference {
  std::unique_ptr<ImageSet> images;
  std::optional<ReferenceStatistics> statistics;
};

Reference open_reference(const std::filesystem::path& path) {
  Reference reference;
  const bool is_file = std::filesystem::is_regular_file(path);
  if (is_file && path.extension() == ".safetensors") {
    reference.statistics = load_reference(path);
  } else if (is_file && path.extension() == ".npz") {
    const std::vector<std::string> names = open_npz(path)->names();
    const auto has = [&](const char* name) { return std::ranges::find(names, name) != names.end(); };
    if (has("mu") && has("sigma")) reference.statistics = load_reference(path);
    if (has("arr_0")) reference.images = open_image_set(path);
    if (!reference.statistics && !reference.images)
      refuse("{}: holds neither images (arr_0) nor statistics of them (mu and sigma); there are: {}", path.string(),
             fmt::join(names, ", "));
  } else {
    reference.images = open_image_set(path);
  }
  return reference;
}

/// The scoring of one request.
struct Scoring {
  const ImageScoreRequest& request;
  Communicator& communicator;
  std::unique_ptr<ImageSet> samples;
  Reference reference;
  std::vector<FeatureScore> scores = {};
  std::vector<std::string> warnings = {};

  void keep(const std::string& metric, double value, const nlohmann::json& details = nlohmann::json::object()) {
    scores.push_back({metric, value, samples->shape().images, details});
  }
};

void require_images(const ImageSet& images, const FeatureNetwork& network, std::int64_t dimension) {
  if (images.shape().images <= dimension)
    refuse("{}; a Fréchet distance over the {} features of {} needs at least {}", images.description(), dimension,
           network.name(), dimension + 1);
}

std::string size_text(const ImageSetShape& shape) {
  return fmt::format("{}x{}x{}", shape.channels, shape.height, shape.width);
}

/// The moments that the reference's file holds; doubts about them are warnings.
FeatureReference stored_moments(Scoring& scoring, const FeatureNetwork& network, std::int64_t dimension) {
  const ImageSetShape& shape = scoring.samples->shape();
  const ReferenceStatistics& statistics = *scoring.reference.statistics;
  for (const std::string& doubt :
       check_reference(scoring.request.reference, statistics, network, dimension, shape.channels, shape.height))
    scoring.warnings.push_back(doubt);
  return {statistics.moments, statistics.spatial};
}

/// What is told where the reference has no images.
void leave_out_pairs(Scoring& scoring) {
  if (!scoring.request.held_out.empty())
    refuse("{}: --held-out needs the reference's images; the file has statistics of them alone",
           scoring.request.reference.string());
  if (scoring.request.compared_images > 0)
    scoring.warnings.push_back(
        "no kernel distance, precision, recall, density or coverage: they need the reference's images, and it has "
        "statistics of them alone");
}

/// What samples are compared with image by image, where they are; `features` are the reference's.
std::shared_ptr<const RealFeatures> real_features(Scoring& scoring, FeatureNetwork& network,
                                                  const at::Tensor& features) {
  const ImageScoreRequest& request = scoring.request;
  if (request.compared_images == 0) return nullptr;
  if (features.size(0) < RealFeatures::fewest) {
    scoring.warnings.push_back(
        fmt::format("no kernel distance, precision, recall, density or coverage: they need {} "
                    "images at least; {}",
                    RealFeatures::fewest, scoring.reference.images->description()));
    return nullptr;
  }
  at::Tensor held_out;
  if (!request.held_out.empty()) {
    const auto others = open_image_set(request.held_out);
    const at::Tensor kept = even_rows(others->shape().images, request.compared_images);
    held_out = describe_images(network, *others, kept, "", scoring.communicator).features();
  }
  return std::make_shared<RealFeatures>(features, held_out, scoring.communicator);
}

/// Moments are those that the reference's file holds, or else its images'.
FeatureReference reference_of(Scoring& scoring, FeatureNetwork& network, std::int64_t dimension) {
  std::optional<FeatureReference> stored;
  if (scoring.reference.statistics) stored = stored_moments(scoring, network, dimension);
  if (!scoring.reference.images) {
    leave_out_pairs(scoring);
    return *stored;
  }
  const std::int64_t compared = scoring.request.compared_images;
  if (stored && compared == 0) return *stored;
  ImageSet& images = *scoring.reference.images;
  if (!stored) require_images(images, network, dimension);
  if (size_text(images.shape()) != size_text(scoring.samples->shape()))
    scoring.warnings.push_back(fmt::format("samples are of {}, the reference's images of {}: each set is resized alone",
                                           size_text(scoring.samples->shape()), size_text(images.shape())));
  const DescribedImages real =
      describe_images(network, images, even_rows(images.shape().images, compared), "", scoring.communicator);
  FeatureReference reference = stored ? *stored : FeatureReference{real.moments(), real.spatial()};
  reference.real = real_features(scoring, network, real.features());
  return reference;
}

/// Says so where a part of the samples is compared and their order matters to whoever takes the first ones.
void warn_of_order(Scoring& scoring) {
  const std::int64_t all = scoring.samples->shape().images, compared = scoring.request.compared_images;
  if (compared == 0 || compared >= all || !has_sorted_labels(scoring.request.samples)) return;
  scoring.warnings.push_back(
      fmt::format("{}: its images come in the order of their classes (arr_1); the {} of {} that are compared image by "
                  "image are drawn from all of them",
                  scoring.samples->name(), compared, all));
}

void score_features(Scoring& scoring, FeatureNetwork& network) {
  ImageSet& samples = *scoring.samples;
  const std::int64_t dimension = widths_of(network.describe(samples.read(0, 1))).features;
  require_images(samples, network, dimension);
  const FeatureReference reference = reference_of(scoring, network, dimension);
  const at::Tensor kept = drawn_rows(samples.shape().images, scoring.request.compared_images);
  const DescribedImages generated = describe_images(network, samples, kept, "", scoring.communicator);
  warn_of_order(scoring);
  for (FeatureScore& score : compare_features(generated, reference, scoring.communicator)) {
    if (score.details.contains("warning"))
      scoring.warnings.push_back(fmt::format("{}: {}", score.metric, score.details["warning"].get<std::string>()));
    scoring.scores.push_back(std::move(score));
  }
}

ImageSet& reference_images(Scoring& scoring, const char* what) {
  if (!scoring.reference.images)
    refuse("{}: {} needs the reference's images; the file has statistics of them alone",
           scoring.request.reference.string(), what);
  const ImageSetShape &a = scoring.samples->shape(), &b = scoring.reference.images->shape();
  if (a.channels != b.channels || a.height != b.height || a.width != b.width)
    refuse("{} of images of different sizes: {}; {}", what, scoring.samples->description(),
           scoring.reference.images->description());
  return *scoring.reference.images;
}

void score_pairs(Scoring& scoring) {
  ImageSet& reference = reference_images(scoring, "--paired");
  const std::int64_t all = scoring.samples->shape().images;
  if (reference.shape().images != all)
    refuse("--paired: {} samples and {} images of the reference: as many are expected, in the same order", all,
           reference.shape().images);
  std::vector<at::Tensor> ratios, similarities;
  for (std::int64_t first = 0; first < all; first += pairs_at_once) {
    const std::int64_t count = std::min(pairs_at_once, all - first);
    const at::Tensor a = scoring.samples->read(first, count), b = reference.read(first, count);
    ratios.push_back(psnr(a, b));
    similarities.push_back(ssim(a, b));
  }
  const at::Tensor ratio = at::cat(ratios), differ = ratio.isfinite();
  const auto equal = all - differ.sum().item<std::int64_t>();
  scoring.keep("psnr", ratio.masked_select(differ).mean().item<double>(), {{"equal_pairs", equal}});
  scoring.keep("ssim", at::cat(similarities).mean().item<double>());
  const ImageSetShape& shape = scoring.samples->shape();
  if (std::min(shape.height, shape.width) < ssim_window)
    scoring.warnings.push_back(fmt::format("ssim: none: images of {}x{} are smaller than its window, {}x{}",
                                           shape.height, shape.width, ssim_window, ssim_window));
}

/// Mean distance of samples from the image nearest to each, and which images those are.
Json score_nearest(Scoring& scoring) {
  ImageSet& reference = reference_images(scoring, "--nearest");
  const SearchedImages searched{reference.shape().images,
                                [&](std::int64_t first, std::int64_t count) { return reference.read(first, count); }};
  const NearestImages found = nearest_images(scoring.samples->read(0, scoring.samples->shape().images), searched,
                                             scoring.request.nearest, scoring.communicator);
  scoring.keep("nearest_distance", found.distances.select(1, 0).mean().item<double>());
  Json list = Json::array();
  for (std::int64_t i = 0; i < found.rows.size(0); ++i) {
    const at::Tensor rows = found.rows[i].contiguous(), distances = found.distances[i].contiguous();
    const auto* row = rows.const_data_ptr<std::int64_t>();
    const auto* distance = distances.const_data_ptr<double>();
    list.push_back({{"sample", i},
                    {"images", std::vector<std::int64_t>(row, row + rows.size(0))},
                    {"distances", std::vector<double>(distance, distance + rows.size(0))}});
  }
  return list;
}

Json described(const std::filesystem::path& path, const ImageSet* images) {
  Json json{{"path", utf8_text(path.string())}};
  if (images == nullptr) return json;
  const ImageSetShape& shape = images->shape();
  json["images"] = shape.images;
  json["size"] = {shape.channels, shape.height, shape.width};
  return json;
}

Json described(const Scoring& scoring) {
  Json json = described(scoring.request.reference, scoring.reference.images.get());
  const auto& statistics = scoring.reference.statistics;
  if (!statistics) return json;
  Json facts{{"images", nullptr}, {"network", statistics->network}, {"split", statistics->split}};
  if (statistics->count_known) facts["images"] = statistics->moments.count;
  json["statistics"] = facts;
  return json;
}

Json listed(const std::vector<FeatureScore>& scores) {
  Json list = Json::array();
  for (const FeatureScore& score : scores) {
    // JSON has no NaN or infinity.
    Json entry{{"metric", score.metric},
               {"value", std::isfinite(score.value) ? Json(score.value) : Json()},
               {"samples", score.samples}};
    entry.update(Json(score.details));
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace

nlohmann::ordered_json score_images(const ImageScoreRequest& request, FeatureNetwork* network,
                                    Communicator& communicator) {
  Scoring scoring{request, communicator, open_image_set(request.samples), open_reference(request.reference)};
  Json nearest;
  if (network != nullptr) score_features(scoring, *network);
  if (request.paired) score_pairs(scoring);
  if (request.nearest > 0) nearest = score_nearest(scoring);
  Json json{{"samples", described(request.samples, scoring.samples.get())}, {"reference", described(scoring)}};
  if (network != nullptr)
    json["network"] = {{"name", utf8_text(network->name())}, {"hash", network->hash()}, {"resize", network->resize()}};
  json["scores"] = listed(scoring.scores);
  json["warnings"] = Json::array();
  for (const std::string& warning : scoring.warnings) json["warnings"].push_back(utf8_text(warning));
  if (!nearest.is_null()) json["nearest"] = nearest;
  json["program"] = fmt::format("couplet {}", COUPLET_VERSION);
  return json;
}

}  // namespace couplet
