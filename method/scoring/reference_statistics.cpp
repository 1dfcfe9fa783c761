#include "method/scoring/reference_statistics.h"

#include "method/data/dataset.h"
#include "method/data/image_set.h"
#include "method/scoring/described_images.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/formats/npz.h"
#include "storage/json_text.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

namespace couplet {
namespace {

constexpr std::int64_t unknown_count = 50000;  ///< what a file that does not say is taken to be of
/// Features in single precision have squares far below it, and distances of such features are finite.
constexpr double largest_value = 1e100;
/// What may be missing to a covariance matrix: what single precision costs, as a share of its largest value; and what
/// sums in double precision cost, as a share of the mean's square.
constexpr double value_rounding = 1e-5, sum_rounding = 1e-10;

using Metadata = std::map<std::string, std::string>;

Metadata metadata_of(const ReferenceStatistics& statistics) {
  return {{"network", statistics.network},
          {"network_hash", statistics.network_hash},
          {"resize", statistics.resize},
          {"dataset", statistics.dataset},
          {"split", statistics.split},
          {"crop", statistics.crop},
          {"channels", std::to_string(statistics.channels)},
          {"size", std::to_string(statistics.size)},
          {"program", fmt::format("couplet {}", COUPLET_VERSION)}};
}

void apply(const Metadata& metadata, const std::filesystem::path& path, ReferenceStatistics& statistics) {
  const auto text = [&](const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() ? std::string() : found->second;
  };
  const auto number = [&](const char* name) -> std::int64_t {
    const std::string digits = text(name);
    if (digits.empty()) return 0;
    if (digits.size() > 9 || digits.find_first_not_of("0123456789") != std::string::npos)
      fail("{}: its {} is \"{}\"; expected a whole number", path.string(), name, digits);
    return std::stoll(digits);
  };
  statistics.network = text("network");
  statistics.network_hash = text("network_hash");
  statistics.resize = text("resize");
  statistics.dataset = text("dataset");
  statistics.split = text("split");
  statistics.crop = text("crop");
  statistics.channels = number("channels");
  statistics.size = number("size");
}

double largest_of(const at::Tensor& values) {
  return values.abs().max().item<double>();
}

/// A mean and a covariance of features, with what their file calls them.
struct NamedMoments {
  std::string mean_name, covariance_name;
  at::Tensor mean, covariance;
};

void require_values(const std::filesystem::path& path, const std::string& what, const at::Tensor& values) {
  if (!values.isfinite().all().item<bool>()) refuse("{}: the {} holds values that are not finite", path.string(), what);
  if (const double largest = largest_of(values); largest > largest_value)
    refuse("{}: the {} holds values up to {:.3g}; those of features stay below {:.0e}", path.string(), what, largest,
           largest_value);
}

/// Refuses what cannot be the mean and the covariance of features.
void require_mean_and_covariance(const std::filesystem::path& path, const NamedMoments& moments) {
  const std::string what = fmt::format("covariance ({})", moments.covariance_name);
  require_values(path, fmt::format("mean ({})", moments.mean_name), moments.mean);
  require_values(path, what, moments.covariance);
  const double of_sums = sum_rounding * moments.mean.square().sum().item<double>();
  const double largest = largest_of(moments.covariance);
  const double gap = largest_of(moments.covariance - moments.covariance.t());
  if (gap > value_rounding * largest + of_sums)
    refuse("{}: the {} is not symmetric: values that should be equal differ by up to {:.3g}, the largest being {:.3g}",
           path.string(), what, gap, largest);
  const at::Tensor eigenvalues = at::linalg_eigvalsh(moments.covariance, "L");
  const double least = eigenvalues.min().item<double>();
  if (least < -value_rounding * largest_of(eigenvalues) - of_sums)
    refuse("{}: the {} has the eigenvalue {:.3g}; no covariance has one below 0", path.string(), what, least);
}

void require_count(const std::filesystem::path& path, std::int64_t count) {
  if (count < 2) refuse("{}: n = {}; statistics are of two images at least", path.string(), count);
}

/// Moments of `count` rows that have this mean and covariance.
Moments moments_from(const at::Tensor& mean, const at::Tensor& covariance, std::int64_t count) {
  Moments moments(mean.size(0));
  const auto n = static_cast<double>(count);
  moments.count = count;
  moments.sum = mean * n;
  moments.outer = covariance * (n - 1) + at::outer(mean, mean) * n;
  return moments;
}

NpzArray array_of(const std::string& name, const at::Tensor& values) {
  const at::Tensor rows = values.contiguous();
  const std::size_t row_bytes = rows.nbytes() / static_cast<std::size_t>(rows.size(0));
  return {.name = name,
          .type = element_type(rows.scalar_type()),
          .rows = rows.size(0),
          .row_shape = rows.sizes().slice(1).vec(),
          .rows_at_once = rows.size(0),
          .read = [=](std::int64_t first, std::int64_t, std::span<std::byte> out) {
            const auto* bytes = static_cast<const std::byte*>(rows.const_data_ptr());
            std::memcpy(out.data(), bytes + static_cast<std::size_t>(first) * row_bytes, out.size());
          }};
}

void save_npz(const std::filesystem::path& path, const ReferenceStatistics& statistics) {
  const std::string json = nlohmann::json(metadata_of(statistics)).dump();
  at::Tensor provenance = at::empty({static_cast<std::int64_t>(json.size())}, at::kByte);
  std::memcpy(provenance.mutable_data_ptr(), json.data(), json.size());
  std::vector<NpzArray> arrays{array_of("mu", statistics.moments.mean()),
                               array_of("sigma", statistics.moments.covariance())};
  if (statistics.spatial) {
    arrays.push_back(array_of("mu_s", statistics.spatial->mean()));
    arrays.push_back(array_of("sigma_s", statistics.spatial->covariance()));
  }
  if (statistics.count_known) arrays.push_back(array_of("n", at::full({1}, statistics.moments.count, at::kLong)));
  arrays.push_back(array_of("provenance", provenance));
  write_npz(path, arrays);
}

at::ScalarType scalar_type_of(const std::filesystem::path& path, const std::string& name, const NumberType& type) {
  if (type == NumberType{'f', 8}) return at::kDouble;
  if (type == NumberType{'f', 4}) return at::kFloat;
  if (type == NumberType{'i', 8}) return at::kLong;
  if (type == NumberType{'u', 1}) return at::kByte;
  fail("{}: array '{}' is of {}; expected float64 or float32", path.string(), name, type.name());
}

/// The arrays of statistics that the file holds, by name; others (a batch of images, say) are left alone.
NamedTensors read_arrays(const std::filesystem::path& path) {
  const auto file = open_npz(path);
  const std::vector<std::string> names = file->names();
  NamedTensors tensors;
  for (const char* name : {"mu", "sigma", "mu_s", "sigma_s", "n", "provenance"}) {
    if (std::ranges::find(names, name) == names.end()) continue;
    const auto array = file->open(name);
    const std::int64_t rows = array->shape().empty() ? 1 : array->shape().front();
    at::Tensor values = at::empty(array->shape(), scalar_type_of(path, name, array->type()));
    if (values.numel() > 0) array->read_next(rows, writable_bytes(values));
    tensors.emplace(name, values);
  }
  if (!tensors.contains("mu") || !tensors.contains("sigma"))
    refuse("{}: holds no statistics: expected the arrays mu and sigma; there are {}", path.string(),
           fmt::join(names, ", "));
  return tensors;
}

Moments moments_of(const std::filesystem::path& path, const NamedTensors& arrays, const std::string& suffix,
                   std::optional<std::int64_t> count) {
  const at::Tensor mean = arrays.at("mu" + suffix).to(at::kDouble);
  const at::Tensor covariance = arrays.at("sigma" + suffix).to(at::kDouble);
  if (mean.dim() != 1 || mean.size(0) < 1 || covariance.sizes() != at::IntArrayRef({mean.size(0), mean.size(0)}))
    refuse("{}: mu{} [{}] and sigma{} [{}] do not belong together; expected [d] and [d, d]", path.string(), suffix,
           fmt::join(mean.sizes(), ", "), suffix, fmt::join(covariance.sizes(), ", "));
  require_mean_and_covariance(path, {"mu" + suffix, "sigma" + suffix, mean, covariance});
  return moments_from(mean, covariance, count.value_or(std::max(unknown_count, mean.size(0) + 1)));
}

/// The number of images, where the file says it.
std::optional<std::int64_t> count_in(const std::filesystem::path& path, const NamedTensors& arrays) {
  const auto found = arrays.find("n");
  if (found == arrays.end()) return std::nullopt;
  const at::Tensor values = found->second.to(at::kDouble).flatten();
  constexpr double most = 1e15;
  if (values.size(0) != 1 || !values.le(most).item<bool>() || !values.eq(values.floor()).item<bool>())
    refuse("{}: n is {} values of {}; expected one whole number, that of the images", path.string(), values.size(0),
           at::toString(found->second.scalar_type()));
  const auto count = static_cast<std::int64_t>(values.item<double>());
  require_count(path, count);
  return count;
}

ReferenceStatistics load_npz(const std::filesystem::path& path) {
  const NamedTensors arrays = read_arrays(path);
  const std::optional<std::int64_t> count = count_in(path, arrays);
  ReferenceStatistics statistics{.moments = moments_of(path, arrays, "", count), .count_known = count.has_value()};
  if (arrays.contains("mu_s") && arrays.contains("sigma_s")) statistics.spatial = moments_of(path, arrays, "_s", count);
  if (!arrays.contains("provenance")) return statistics;
  const at::Tensor& bytes = arrays.at("provenance");
  const std::string text(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes());
  const std::string what = path.string() + ": its provenance";
  const nlohmann::json provenance = parse_json(text, what);
  Metadata metadata;
  for (const auto& item : provenance.items())
    metadata[item.key()] = json_member<std::string>(provenance, item.key().c_str(), what);
  apply(metadata, path, statistics);
  return statistics;
}

ReferenceStatistics load_safetensors(const std::filesystem::path& path) {
  const Safetensors file(path);
  const NamedTensors tensors = read_tensors(path);
  const auto checked = [&](const std::string& prefix) {
    Moments moments = find_moments(path, tensors, prefix);
    require_count(path, moments.count);
    require_mean_and_covariance(path, {prefix + "sum", prefix + "outer", moments.mean(), moments.covariance()});
    return moments;
  };
  ReferenceStatistics statistics{.moments = checked("")};
  apply(file.metadata(), path, statistics);
  if (tensors.contains("spatial.sum") || tensors.contains("spatial.outer")) statistics.spatial = checked("spatial.");
  return statistics;
}

}  // namespace

ReferenceStatistics make_reference(FeatureNetwork& network, const RowTable& images, const std::string& split,
                                   const std::string& stopped, Communicator& communicator) {
  const auto set = open_image_set(images.path());
  const DescribedImages described =
      describe_images(network, *set, even_rows(set->shape().images, 0), stopped, communicator);
  return {.moments = described.moments(),
          .spatial = described.spatial(),
          .network = network.name(),
          .network_hash = network.hash(),
          .resize = network.resize(),
          .dataset = images.content_hash(),
          .split = split,
          .crop = crop_of(images.provenance()),
          .channels = set->shape().channels,
          .size = set->shape().height};
}

void save_reference(const std::filesystem::path& path, const ReferenceStatistics& statistics) {
  if (path.extension() == ".npz") return save_npz(path, statistics);
  NamedTensors tensors{{"count", at::full({1}, statistics.moments.count, at::kLong)},
                       {"sum", statistics.moments.sum},
                       {"outer", statistics.moments.outer}};
  if (statistics.spatial) {
    tensors.emplace("spatial.sum", statistics.spatial->sum);
    tensors.emplace("spatial.outer", statistics.spatial->outer);
  }
  publish_tensors(path, tensors, metadata_of(statistics));
}

ReferenceStatistics load_reference(const std::filesystem::path& path) {
  if (!is_there(path)) refuse("{}: there is no such file of reference statistics", path.string());
  return path.extension() == ".npz" ? load_npz(path) : load_safetensors(path);
}

std::vector<std::string> check_reference(const std::filesystem::path& path, const ReferenceStatistics& statistics,
                                         const FeatureNetwork& network, std::int64_t dimension, std::int64_t channels,
                                         std::int64_t size, const std::string& crop) {
  if (statistics.moments.dimension() != dimension)
    refuse(
        "{}: statistics of {} features ({}), compared with {} features of {}: make them with that network by couplet "
        "reference",
        path.string(), statistics.moments.dimension(),
        statistics.network.empty() ? "of a network it does not name" : statistics.network, dimension, network.name());
  if (!statistics.network_hash.empty() && statistics.network_hash != network.hash())
    refuse(
        "{}: statistics of the network {} ({}), compared with features of {} ({}): make them with that network by "
        "couplet reference",
        path.string(), statistics.network, statistics.network_hash, network.name(), network.hash());
  if (!statistics.crop.empty() && !crop.empty() && statistics.crop != crop)
    refuse(
        "{}: statistics of images of the crop {}, compared with images of the crop {}: make them of images that were "
        "prepared alike (prepare.crop)",
        path.string(), statistics.crop, crop);
  std::vector<std::string> doubts;
  if (statistics.network_hash.empty())
    doubts.push_back(fmt::format("{}: does not say which network its statistics are of; taken to be {}", path.string(),
                                 network.name()));
  if (!statistics.count_known)
    doubts.push_back(fmt::format("{}: does not say of how many images its statistics are", path.string()));
  if (statistics.size != 0 && (statistics.size != size || statistics.channels != channels))
    doubts.push_back(fmt::format("{}: statistics of images of {}x{}x{}, compared with images of {}x{}x{}",
                                 path.string(), statistics.channels, statistics.size, statistics.size, channels, size,
                                 size));
  return doubts;
}

}  // namespace couplet
