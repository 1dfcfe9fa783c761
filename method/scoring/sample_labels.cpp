#include "method/scoring/sample_labels.h"

#include "pipeline/tensor/tensor_bytes.h"
#include "storage/formats/npz.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t labels_at_once = 65536;
constexpr const char* labels_name = "arr_1";

/// None for other numbers than labels are written as.
std::optional<at::ScalarType> label_type(const NumberType& type) {
  if (type == NumberType{'i', 8}) return at::kLong;
  if (type == NumberType{'i', 4}) return at::kInt;
  if (type == NumberType{'i', 2}) return at::kShort;
  if (type == NumberType{'u', 1}) return at::kByte;
  return std::nullopt;
}

bool ascend(ForeignArray& labels, at::ScalarType type) {
  const std::int64_t all = labels.shape()[0];
  at::Tensor first, last;
  for (std::int64_t row = 0; row < all; row += labels_at_once) {
    at::Tensor some = at::empty({std::min(labels_at_once, all - row)}, type);
    labels.read_next(some.size(0), writable_bytes(some));
    if (!first.defined()) first = last = some.narrow(0, 0, 1);
    const at::Tensor before = at::cat({last, some.narrow(0, 0, some.size(0) - 1)});
    if (some.lt(before).any().item<bool>()) return false;
    last = some.narrow(0, some.size(0) - 1, 1);
  }
  return all > 0 && last.ne(first).item<bool>();
}

}  // namespace

bool has_sorted_labels(const std::filesystem::path& samples) {
  if (!std::filesystem::is_regular_file(samples) || samples.extension() != ".npz") return false;
  const auto file = open_npz(samples);
  const std::vector<std::string> names = file->names();
  if (std::ranges::find(names, labels_name) == names.end()) return false;
  const auto labels = file->open(labels_name);
  const auto type = label_type(labels->type());
  return type && labels->shape().size() == 1 && ascend(*labels, *type);
}

}  // namespace couplet
