#include "method/data/image_source.h"

#include "storage/files/hash.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace couplet {

std::string SourceImages::image_name(std::int64_t image) const {
  return fmt::format("image {} of {}", image, name());
}

at::Tensor SourceImages::read_images(const std::vector<std::int64_t>& images) {
  // Forwards, and neighbours at once: packed files cannot be entered anywhere.
  std::vector<std::size_t> ascending(images.size());
  std::iota(ascending.begin(), ascending.end(), std::size_t{0});
  std::ranges::stable_sort(ascending, {}, [&](std::size_t i) { return images[i]; });
  std::vector<at::Tensor> parts;
  std::vector<std::int64_t> place(images.size());
  for (std::size_t i = 0, end = 0; i < ascending.size(); i = end) {
    const std::int64_t first = images[ascending[i]];
    while (end < ascending.size() && images[ascending[end]] == first + static_cast<std::int64_t>(end - i)) {
      place[ascending[end]] = static_cast<std::int64_t>(end);
      ++end;
    }
    parts.push_back(read(first, static_cast<std::int64_t>(end - i)));
  }
  return at::cat(parts).index_select(0, at::tensor(place));
}

std::string files_hash(const std::vector<std::filesystem::path>& files) {
  std::string hashes;
  for (const std::filesystem::path& file : files) hashes += hash_file(file) + "\n";
  return hash_text(hashes);
}

}  // namespace couplet
