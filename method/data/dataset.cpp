#include "method/data/dataset.h"

#include "storage/error.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace couplet {

DatasetShape dataset_shape(const RowTable& table) {
  const std::vector<std::int64_t>& image = table.columns().at(table.column("image")).shape;
  if (image.size() != 3 || image[1] != image[2]) {
    fail("{}: images of shape [{}]; the models take square images [channels, size, size]", table.path().string(),
         fmt::join(image, ", "));
  }
  const nlohmann::json& counts = table.summary().at("class_counts");
  return {image[0], image[1], static_cast<std::int64_t>(counts.size()), counts.get<std::vector<std::int64_t>>()};
}

}  // namespace couplet
