#include "method/tables/seeds_table_writer.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <tuple>
#include <type_traits>

namespace couplet {
namespace {

constexpr std::int64_t seeds_at_once = 65536;
// Rows are small: a shard is some 50 MB.
constexpr std::int64_t seeds_shard_rows = std::int64_t{1} << 20, seeds_block_rows = std::int64_t{1} << 12;

using SeedPlace = std::tuple<std::int64_t, std::uint8_t, std::int64_t>;

/// Looks whether rows, the first of them number `first` of the table, follow each other and what came `before`.
void check_order(const SeedRows& rows, std::int64_t first, SeedPlace& before) {
  for (std::size_t i = 0; i < rows.sample.size(); ++i) {
    const SeedPlace place{rows.sample[i], rows.flip[i], rows.noise_id[i]};
    if (place <= before)
      fail("row {} of a table of seeds is sample {}, flip {}, noise {}, behind sample {}, flip {}, noise {}",
           first + static_cast<std::int64_t>(i), rows.sample[i], rows.flip[i], rows.noise_id[i], std::get<0>(before),
           std::get<1>(before), std::get<2>(before));
    before = place;
  }
}

}  // namespace

void write_seeds_table(const std::filesystem::path& directory, const SeedsLayout& layout,
                       const std::function<SeedRows(std::int64_t first, std::int64_t count)>& read,
                       const nlohmann::json& summary) {
  const ShardPlan& plan = layout.plan;
  SeedPlace before{-1, 0, 0};
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
    const ShardHeader header{seeds_format,        newest_shard_version, plan.first_row(shard),
                             plan.rows_of(shard), layout.block_rows,    layout.provenance};
    Pending pending(directory / shard_name(shard, plan.shards()));
    RowShardWriter writer(pending.path(), header, seeds_columns());
    for (std::int64_t done = 0; done < header.rows; done += seeds_at_once) {
      const SeedRows rows = read(header.first_row + done, std::min(seeds_at_once, header.rows - done));
      check_order(rows, header.first_row + done, before);
      writer.write(0, done, std::as_bytes(std::span(rows.noise_id)));
      writer.write(1, done, std::as_bytes(std::span(rows.label)));
      writer.write(2, done, std::as_bytes(std::span(rows.sample)));
      writer.write(3, done, std::as_bytes(std::span(rows.flip)));
    }
    writer.finish(nlohmann::json::object());
    pending.commit();
  }
  publish_manifest(directory, plan, seeds_format, summary);
}

void publish_seeds(const std::filesystem::path& directory, const SeedRows& rows, const nlohmann::json& provenance) {
  Pending pending(directory);
  std::filesystem::create_directory(pending.path());
  const auto part = [&](std::int64_t first, std::int64_t count) {
    const auto cut = [&](const auto& column) {
      return std::decay_t<decltype(column)>(column.begin() + first, column.begin() + first + count);
    };
    return SeedRows{cut(rows.noise_id), cut(rows.label), cut(rows.sample), cut(rows.flip)};
  };
  write_seeds_table(pending.path(), {{rows.rows(), seeds_shard_rows}, seeds_block_rows, provenance}, part,
                    nlohmann::json::object());
  pending.commit(/*replace=*/true);
}

}  // namespace couplet
