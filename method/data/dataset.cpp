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
  const auto counts = table.summary().at("class_counts").get<std::vector<std::int64_t>>();
  // Tables that do not say how many classes they have were made of labelled images.
  return {image[0], image[1], table.provenance().value("classes", std::ssize(counts)), counts,
          codec_of(table.provenance())};
}

}  // namespace couplet
