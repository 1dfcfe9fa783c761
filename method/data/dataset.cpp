#include "method/data/dataset.h"

#include "storage/error.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <string>

namespace couplet {
namespace {

LowResolution low_resolution_of(const nlohmann::json& provenance) {
  const auto found = provenance.find("low_resolution");
  if (found == provenance.end()) return {};
  return {found->at("factor").get<std::int64_t>(), found->at("degradation").get<std::string>()};
}

}  // namespace

std::string crop_of(const nlohmann::json& provenance) {
  const auto source = provenance.find("source");
  if (source == provenance.end() || !source->is_object()) return "";
  const std::string crop = source->value("crop", ""), filter = source->value("filter", "");
  return filter.empty() ? crop : crop + ", by " + filter;
}

DatasetShape dataset_shape(const RowTable& table) {
  const std::vector<std::int64_t>& image = table.columns().at(table.column("image")).shape;
  if (image.size() != 3 || image[1] != image[2]) {
    fail("{}: images of shape [{}]; the models take square images [channels, size, size]", table.path().string(),
         fmt::join(image, ", "));
  }
  const auto counts = table.summary().at("class_counts").get<std::vector<std::int64_t>>();
  // Tables that do not say how many classes they have were made of labelled images.
  const auto codec = codec_of(table);
  const std::vector<std::int64_t> seen = codec->seen_shape(image);
  return {seen[0], seen[1], table.provenance().value("classes", std::ssize(counts)),
          counts,  codec,   low_resolution_of(table.provenance())};
}

Condition DatasetShape::condition(const at::Tensor& images, const at::Tensor& labels) const {
  if (!low_resolution.is_given()) return {labels, {}};
  return condition_of_low(downsampled(codec->decode(images).cpu(), low_resolution), labels);
}

Condition DatasetShape::condition_of_low(const at::Tensor& low_pixels, const at::Tensor& labels) const {
  return {labels, upsampled(low_pixels, low_resolution.factor)};
}

}  // namespace couplet
