#include "method/statistics/duplicate_images.h"

#include <algorithm>

namespace couplet {
namespace {

/// A held-out row, to be found by its pixels.
struct HashedRow {
  Hash128 hash;
  std::int64_t row = 0;
  bool is_in_training = false;
};

std::vector<HashedRow> rows_by_hash(const ImageHashes& images) {
  std::vector<HashedRow> rows;
  rows.reserve(images.hashes().size());
  for (const Hash128& hash : images.hashes()) rows.push_back({hash, std::ssize(rows)});
  std::ranges::sort(
      rows, [](const HashedRow& a, const HashedRow& b) { return a.hash != b.hash ? a.hash < b.hash : a.row < b.row; });
  return rows;
}

}  // namespace

std::int64_t ImageHashes::sort_and_count_repeated() {
  std::ranges::sort(hashes_);
  std::int64_t repeated = 0;
  for (std::size_t i = 1; i < hashes_.size(); ++i) repeated += hashes_[i] == hashes_[i - 1];
  return repeated;
}

DuplicateImages find_duplicates(ImageHashes training, ImageHashes held_out, std::size_t most_examples) {
  DuplicateImages found;
  std::vector<HashedRow> rows = rows_by_hash(held_out);
  for (std::int64_t row = 0; row < training.rows(); ++row) {
    const auto equal =
        std::ranges::equal_range(rows, training.hashes()[static_cast<std::size_t>(row)], {}, &HashedRow::hash);
    if (equal.empty()) continue;
    for (HashedRow& match : equal) match.is_in_training = true;
    if (found.examples.size() < most_examples) found.examples.emplace_back(row, equal.front().row);
  }
  found.held_out_in_training = std::ranges::count_if(rows, &HashedRow::is_in_training);
  found.repeated_in_training = training.sort_and_count_repeated();
  found.repeated_in_held_out = held_out.sort_and_count_repeated();
  return found;
}

}  // namespace couplet
