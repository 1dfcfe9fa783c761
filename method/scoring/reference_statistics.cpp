#include "method/scoring/reference_statistics.h"

#include "method/data/dataset.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/formats/npz.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

namespace couplet {
namespace {

constexpr std::int64_t slice_rows = 250;
constexpr std::int64_t unknown_count = 50000;  ///< what a file that does not say is taken to be of

using Metadata = std::map<std::string, std::string>;

Metadata metadata_of(const ReferenceStatistics& statistics) {
  return {{"network", statistics.network},
          {"network_hash", statistics.network_hash},
          {"resize", statistics.resize},
          {"dataset", statistics.dataset},
          {"split", statistics.split},
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
  statistics.channels = number("channels");
  statistics.size = number("size");
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
    array->read_next(rows, writable_bytes(values));
    tensors.emplace(name, values);
  }
  if (!tensors.contains("mu") || !tensors.contains("sigma"))
    fail("{}: holds no statistics: expected the arrays mu and sigma; there are {}", path.string(),
         fmt::join(names, ", "));
  return tensors;
}

Moments moments_of(const std::filesystem::path& path, const NamedTensors& arrays, const std::string& suffix,
                   std::optional<std::int64_t> count) {
  const at::Tensor mean = arrays.at("mu" + suffix).to(at::kDouble);
  const at::Tensor covariance = arrays.at("sigma" + suffix).to(at::kDouble);
  if (mean.dim() != 1 || covariance.sizes() != at::IntArrayRef({mean.size(0), mean.size(0)}))
    fail("{}: mu{} [{}] and sigma{} [{}] do not belong together; expected [d] and [d, d]", path.string(), suffix,
         fmt::join(mean.sizes(), ", "), suffix, fmt::join(covariance.sizes(), ", "));
  if (!mean.isfinite().all().item<bool>() || !covariance.isfinite().all().item<bool>())
    fail("{}: mu{} or sigma{} holds values that are not finite", path.string(), suffix, suffix);
  return moments_from(mean, covariance, count.value_or(std::max(unknown_count, mean.size(0) + 1)));
}

ReferenceStatistics load_npz(const std::filesystem::path& path) {
  const NamedTensors arrays = read_arrays(path);
  std::optional<std::int64_t> count;
  if (arrays.contains("n")) count = arrays.at("n").sum().item<std::int64_t>();
  if (count && *count < 2) fail("{}: n = {}; statistics are of two images at least", path.string(), *count);
  ReferenceStatistics statistics{.moments = moments_of(path, arrays, "", count), .count_known = count.has_value()};
  if (arrays.contains("mu_s") && arrays.contains("sigma_s")) statistics.spatial = moments_of(path, arrays, "_s", count);
  if (!arrays.contains("provenance")) return statistics;
  const at::Tensor& bytes = arrays.at("provenance");
  const std::string text(static_cast<const char*>(bytes.const_data_ptr()), bytes.nbytes());
  try {
    apply(nlohmann::json::parse(text).get<Metadata>(), path, statistics);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: its provenance cannot be read: {}", path.string(), error.what());
  }
  return statistics;
}

ReferenceStatistics load_safetensors(const std::filesystem::path& path) {
  const Safetensors file(path);
  ReferenceStatistics statistics{.moments = load_moments(path)};
  apply(file.metadata(), path, statistics);
  const NamedTensors tensors = read_tensors(path);
  const auto sum = tensors.find("spatial.sum"), outer = tensors.find("spatial.outer");
  if (sum == tensors.end() || outer == tensors.end()) return statistics;
  statistics.spatial.emplace(sum->second.size(0));
  statistics.spatial->count = statistics.moments.count;
  statistics.spatial->sum = sum->second;
  statistics.spatial->outer = outer->second;
  return statistics;
}

}  // namespace

ReferenceStatistics make_reference(FeatureNetwork& network, const RowTable& images, const std::string& split,
                                   const std::string& stopped, Communicator& communicator) {
  const DatasetShape shape = dataset_shape(images);
  const std::vector<std::int64_t> pixels = shape.pixel_shape();
  const auto read = [&](std::int64_t first, std::int64_t count) {
    return shape.codec->pixels(read_rows(images, "image", first, count));
  };
  const ImageFeatures one = network.describe(read(0, 1));
  const std::int64_t dimension = one.features.size(1);
  const std::int64_t spatial_dimension = one.spatial.defined() ? one.spatial.size(1) : 0;
  ReferenceStatistics statistics{.moments = Moments(dimension),
                                 .network = network.name(),
                                 .network_hash = network.hash(),
                                 .resize = network.resize(),
                                 .dataset = images.content_hash(),
                                 .split = split,
                                 .channels = pixels[0],
                                 .size = pixels[1]};
  if (spatial_dimension > 0) statistics.spatial.emplace(spatial_dimension);
  for_each_slice(
      communicator,
      {.rows = images.rows(), .slice_rows = slice_rows, .columns = dimension + spatial_dimension, .stopped = stopped},
      [&](std::int64_t first) {
        const std::int64_t count = std::min(slice_rows, images.rows() - first);
        const ImageFeatures made = network.describe(read(first, count));
        return made.spatial.defined() ? at::cat({made.features, made.spatial}, 1) : made.features;
      },
      [&](const at::Tensor& values) {
        statistics.moments.add(values.narrow(1, 0, dimension));
        if (statistics.spatial) statistics.spatial->add(values.narrow(1, dimension, spatial_dimension));
      });
  return statistics;
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
  if (!std::filesystem::exists(path)) refuse("{}: there is no such file of reference statistics", path.string());
  return path.extension() == ".npz" ? load_npz(path) : load_safetensors(path);
}

std::vector<std::string> check_reference(const std::filesystem::path& path, const ReferenceStatistics& statistics,
                                         const FeatureNetwork& network, std::int64_t dimension, std::int64_t channels,
                                         std::int64_t size) {
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
