#include "method/tables/seeds_check.h"

#include "method/tables/coupling_table.h"
#include "method/tables/seeds_table.h"
#include "storage/tables/row_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t most_seeds_problems = 5;  ///< are told one by one

/// Problems of which the first few are told.
class SeedsProblems {
public:
  void add(std::string text) {
    if (++count_ <= most_seeds_problems) texts_.push_back(std::move(text));
  }
  std::vector<std::string> all() {
    if (count_ > most_seeds_problems)
      texts_.push_back(fmt::format("{} more rows like these", count_ - most_seeds_problems));
    return std::move(texts_);
  }

private:
  std::vector<std::string> texts_;
  std::int64_t count_ = 0;
};

template <class Value>
std::vector<Value> seeds_column(const RowShard& shard, const std::string& name) {
  std::vector<Value> values(static_cast<std::size_t>(shard.header().rows));
  shard.read(shard.column(name), 0, shard.header().rows, std::as_writable_bytes(std::span(values)));
  return values;
}

SeedRows seeds_of(const RowShard& shard) {
  return {seeds_column<std::int64_t>(shard, "noise_id"), seeds_column<std::int32_t>(shard, "label"),
          seeds_column<std::int64_t>(shard, "sample"), seeds_column<std::uint8_t>(shard, "flip")};
}

/// By which rows are ordered.
std::tuple<std::int64_t, int, std::int64_t> place_of(const SeedRows& rows, std::size_t row) {
  return {rows.sample[row], rows.flip[row], rows.noise_id[row]};
}

std::string place_text(const SeedRows& rows, std::size_t row) {
  return fmt::format("sample {}, flip {}, noise {}", rows.sample[row], rows.flip[row], rows.noise_id[row]);
}

/// Tables of kind loom: k noises of each image, in their order.
struct LoomTable {
  std::int64_t slots = 0;  ///< 0: of another kind
  bool flips = false;
  std::int64_t generation = 0;

  explicit LoomTable(const nlohmann::json& provenance) {
    if (provenance.value("kind", "") != "loom") return;
    slots = provenance.value("slots", std::int64_t{0});
    flips = provenance.value("flips", false);
    generation = provenance.value("generation", std::int64_t{0});
  }
  CouplingRow image_of(std::int64_t row) const { return CouplingRows{0, flips, 1}.at(row / slots); }
};

/// "" where row `row` of the shard is sound.
std::string problem_of(const SeedRows& rows, std::size_t row, const LoomTable& loom, std::int64_t row_of_table) {
  if (rows.label[row] < 0) return fmt::format("row {} has label {}", row, rows.label[row]);
  if (rows.noise_id[row] < 0 || rows.sample[row] < 0 || rows.flip[row] > 1)
    return fmt::format("row {} is {}: none of these is below 0, and flip is 0 or 1", row, place_text(rows, row));
  if (row > 0 && place_of(rows, row - 1) >= place_of(rows, row))
    return fmt::format("row {} is {}, but stands behind {}", row, place_text(rows, row), place_text(rows, row - 1));
  if (loom.slots < 1) return {};
  const CouplingRow image = loom.image_of(row_of_table);
  if (rows.sample[row] == image.sample && (rows.flip[row] != 0) == image.flip) return {};
  return fmt::format("row {} is {}; expected sample {}, flip {}, as each image has {} noises", row,
                     place_text(rows, row), image.sample, image.flip ? 1 : 0, loom.slots);
}

}  // namespace

std::vector<std::string> check_seeds_rows(const RowShard& shard) {
  if (shard.header().format != seeds_format) return {};
  const SeedRows rows = seeds_of(shard);
  const LoomTable loom(shard.header().provenance);
  SeedsProblems problems;
  for (std::size_t row = 0; row < rows.label.size(); ++row) {
    std::string problem = problem_of(rows, row, loom, shard.header().first_row + static_cast<std::int64_t>(row));
    if (!problem.empty()) problems.add(std::move(problem));
  }
  return problems.all();
}

std::vector<std::string> check_seeds_table(const std::filesystem::path& directory) {
  const RowTable table(directory, seeds_format, ReadOptions::foreign());
  SeedsProblems problems;
  std::vector<std::int64_t> ids;
  std::tuple<std::int64_t, int, std::int64_t> last{-1, 0, 0};
  for (std::int64_t index = 0; index < table.plan().shards(); ++index) {
    const SeedRows rows = seeds_of(*table.shard(index));
    if (last >= place_of(rows, 0))
      problems.add(fmt::format("shard {} begins with {}, which stands not behind the shard before it", index,
                               place_text(rows, 0)));
    last = place_of(rows, rows.label.size() - 1);
    ids.insert(ids.end(), rows.noise_id.begin(), rows.noise_id.end());
  }
  std::ranges::sort(ids);
  for (std::size_t i = 1; i < ids.size(); ++i)
    if (ids[i] == ids[i - 1]) problems.add(fmt::format("noise {} belongs to two rows", ids[i]));
  const LoomTable loom(table.provenance());
  if (const std::int64_t first = loom.generation * table.rows();
      loom.slots > 0 && (ids.front() < first || ids.back() >= first + table.rows()))
    problems.add(fmt::format("its noises are {} to {}; generation {} of {} has {} to {}", ids.front(), ids.back(),
                             loom.generation, table.rows(), first, first + table.rows() - 1));
  return problems.all();
}

}  // namespace couplet
