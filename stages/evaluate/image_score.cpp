#include "stages/evaluate/image_score.h"

#include "stages/evaluate/described_images.h"
#include "stages/evaluate/feature_comparison.h"
#include "stages/evaluate/image_set.h"
#include "stages/evaluate/image_similarity.h"
#include "stages/evaluate/nearest_images.h"
#include "stages/evaluate/reference_statistics.h"
#include "storage/error.h"
#include "storage/foreign_array.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

namespace couplet {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t pairs_at_once = 250;

/// What samples are compared with. A file may hold both, as ADM's reference batches do.
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
    if (!reference.statistics || has("arr_0")) reference.images = open_image_set(path);
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
  Json metrics = Json::object(), settings = Json::object(), notes = Json::array();

  void note(const std::string& text) { notes.push_back(text); }
  /// JSON has no NaN or infinity.
  void keep(const std::string& name, double value) { metrics[name] = std::isfinite(value) ? Json(value) : Json(); }
};

/// The distance; null, with the reason as a note, for sets that are too small.
void score_frechet(Scoring& scoring, const std::string& name, const Moments& generated, const Moments& real) {
  scoring.metrics[name] = nullptr;
  try {
    scoring.keep(name, frechet_distance(generated, real));
  } catch (const Error& error) {
    scoring.note(fmt::format("no {}: {}", name, error.what()));
    return;
  }
  const std::string warning = sample_size_warning(generated.count);
  if (!warning.empty()) scoring.note(fmt::format("{}: {}", name, warning));
}

void score_features(Scoring& scoring, const at::Tensor& generated, const at::Tensor& real) {
  if (std::min(generated.size(0), real.size(0)) < fewest_compared) {
    scoring.note(
        fmt::format("no kernel distance, precision, recall, density or coverage: they need {} images of each set",
                    fewest_compared));
    return;
  }
  const FeatureComparison found = compare_features(generated, real, scoring.communicator);
  scoring.keep("kernel_distance", found.kernel.mean);
  scoring.keep("kernel_distance_deviation", found.kernel.deviation);
  if (scoring.request.full_kernel)
    scoring.keep("kernel_distance_full", full_kernel_distance(generated, real, scoring.communicator));
  scoring.keep("precision", found.coverage.precision);
  scoring.keep("recall", found.coverage.recall);
  scoring.keep("density", found.coverage.density);
  scoring.keep("coverage", found.coverage.coverage);
  scoring.settings["kernel_subsets"] = found.subsets.subsets;
  scoring.settings["kernel_subset_rows"] = found.subsets.rows;
  scoring.settings["precision_neighbours"] = found.neighbours.of_precision;
  scoring.settings["density_neighbours"] = found.neighbours.of_density;
}

void score_by_network(Scoring& scoring, FeatureNetwork& network) {
  const DescribedImages generated = describe_images(network, *scoring.samples, scoring.communicator);
  const ImageSetShape& shape = scoring.samples->shape();
  std::optional<DescribedImages> real;
  if (scoring.reference.images) real = describe_images(network, *scoring.reference.images, scoring.communicator);
  const auto& statistics = scoring.reference.statistics;
  if (statistics) {
    for (const std::string& doubt : check_reference(scoring.request.reference, *statistics, network,
                                                    generated.moments.dimension(), shape.channels, shape.height))
      scoring.note(doubt);
  }
  score_frechet(scoring, "frechet_distance", generated.moments, statistics ? statistics->moments : real->moments);
  const auto& spatial = statistics ? statistics->spatial : real->spatial;
  if (generated.spatial && spatial) score_frechet(scoring, "spatial_frechet_distance", *generated.spatial, *spatial);
  if (real)
    score_features(scoring, generated.features, real->features);
  else
    scoring.note(
        "no kernel distance, precision, recall, density or coverage: they need the reference's images, and it "
        "has statistics of them alone");
  if (!generated.inception) return;
  scoring.keep("inception_score", generated.inception->mean());
  scoring.keep("inception_score_deviation", generated.inception->deviation());
  scoring.settings["inception_splits"] = generated.inception->splits();
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
  if (equal > 0) scoring.note(fmt::format("psnr: {} of {} pairs are equal; the mean is over the others", equal, all));
  scoring.keep("psnr", ratio.masked_select(differ).mean().item<double>());
  scoring.keep("ssim", at::cat(similarities).mean().item<double>());
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
  Json json{{"path", path.string()}};
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

}  // namespace

nlohmann::ordered_json score_images(const ImageScoreRequest& request, FeatureNetwork* network,
                                    Communicator& communicator) {
  Scoring scoring{request, communicator, open_image_set(request.samples), open_reference(request.reference)};
  Json nearest;
  if (request.paired) score_pairs(scoring);
  if (request.nearest > 0) nearest = score_nearest(scoring);
  if (network != nullptr) score_by_network(scoring, *network);
  Json json{{"samples", described(request.samples, scoring.samples.get())}, {"reference", described(scoring)}};
  if (network != nullptr)
    json["network"] = {{"name", network->name()}, {"hash", network->hash()}, {"resize", network->resize()}};
  json["metrics"] = scoring.metrics;
  json["settings"] = scoring.settings;
  json["notes"] = scoring.notes;
  if (!nearest.is_null()) json["nearest"] = nearest;
  json["program"] = fmt::format("couplet {}", COUPLET_VERSION);
  return json;
}

}  // namespace couplet
