#include "method/tables/coupling_check.h"

#include "method/tables/coupling_table.h"

#include <fmt/format.h>

#include <iterator>
#include <span>

namespace couplet {
namespace {

template <class Value>
std::vector<Value> whole_column(const RowShard& shard, const std::string& name) {
  const std::int64_t rows = shard.header().rows;
  std::vector<Value> values(static_cast<std::size_t>(rows));
  shard.read(shard.column(name), 0, rows, std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace

std::vector<std::string> check_coupling_rows(const RowShard& shard) {
  if (shard.header().format != coupling_format) return {};
  const nlohmann::json& provenance = shard.header().provenance;
  // Samples in order: how many there are does not matter here.
  const CouplingRows numbering{0, provenance.value("flips", false), provenance.value("replicates", std::int64_t{1})};
  const auto samples = whole_column<std::int64_t>(shard, "sample");
  const auto flips = whole_column<std::uint8_t>(shard, "flip");
  const auto replicates = whole_column<std::int32_t>(shard, "replicate");
  const auto labels = whole_column<std::int32_t>(shard, "label");
  std::vector<std::string> problems;
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < shard.header().rows; ++row) {
    const auto at = static_cast<std::size_t>(row);
    const CouplingRow expected = numbering.at(shard.header().first_row + row);
    const bool in_order =
        samples[at] == expected.sample && (flips[at] != 0) == expected.flip && replicates[at] == expected.replicate;
    if (in_order && labels[at] >= 0) continue;
    constexpr std::int64_t most = 5;
    if (++wrong > most) continue;
    problems.push_back(in_order ? fmt::format("row {} has label {}", row, labels[at])
                                : fmt::format("row {} is sample {}, flip {}, replicate {}; expected {}, {}, {}", row,
                                              samples[at], flips[at], replicates[at], expected.sample,
                                              expected.flip ? 1 : 0, expected.replicate));
  }
  if (wrong > std::ssize(problems))
    problems.push_back(fmt::format("{} more rows like these", wrong - std::ssize(problems)));
  return problems;
}

}  // namespace couplet
