#include "stages/data/class_gaps.h"

#include "storage/text.h"

#include <fmt/format.h>

namespace couplet {

std::string class_gaps(const std::vector<std::int64_t>& train, const std::vector<std::int64_t>& test) {
  std::vector<std::int64_t> untrained, only_tested;
  for (std::size_t label = 0; label < train.size(); ++label) {
    if (train[label] > 0) continue;
    untrained.push_back(static_cast<std::int64_t>(label));
    if (test.at(label) > 0) only_tested.push_back(static_cast<std::int64_t>(label));
  }
  if (untrained.empty()) return "";
  const std::string tested =
      only_tested.empty() ? "" : fmt::format(" Of these, test images have {}.", ranges_text(only_tested));
  return fmt::format(
      "of {} classes, no training image that is used has the label {}: models count these as classes, and samples of "
      "them are asked for.{} Labels are to count from 0 without holes; with prepare.train-rows, take more images",
      train.size(), ranges_text(untrained), tested);
}

}  // namespace couplet
