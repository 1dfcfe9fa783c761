#include "method/tables/seeds_table.h"

#include "method/data/noise.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/table_manifest.h"

#include <span>

namespace couplet {
namespace {

// Rows are small: a shard is some 50 MB.
constexpr std::int64_t seeds_shard_rows = std::int64_t{1} << 20, seeds_block_rows = std::int64_t{1} << 12;

template <class Value>
std::span<const std::byte> bytes_of_rows(const std::vector<Value>& column, const ShardHeader& header) {
  return std::as_bytes(
      std::span(column).subspan(static_cast<std::size_t>(header.first_row), static_cast<std::size_t>(header.rows)));
}

void write_seeds_shard(const std::filesystem::path& path, const ShardHeader& header, const SeedRows& rows) {
  RowShardWriter writer(path, header, seeds_columns());
  writer.write(0, 0, bytes_of_rows(rows.noise_id, header));
  writer.write(1, 0, bytes_of_rows(rows.label, header));
  writer.write(2, 0, bytes_of_rows(rows.sample, header));
  writer.write(3, 0, bytes_of_rows(rows.flip, header));
  writer.finish({});
}

}  // namespace

std::vector<Column> seeds_columns() {
  return {{"noise_id", ElementType::int64, {}, "number from which the noise of the pair is made"},
          {"label", ElementType::int32, {}, "class, from 0"},
          {"sample", ElementType::int64, {}, "row of the data set"},
          {"flip", ElementType::uint8, {}, "1: mirrored left to right"}};
}

void SeedRows::add(std::int64_t id, std::int32_t its_label, std::int64_t its_sample, bool mirrored) {
  noise_id.push_back(id);
  label.push_back(its_label);
  sample.push_back(its_sample);
  flip.push_back(mirrored ? 1 : 0);
}

void publish_seeds(const std::filesystem::path& directory, const SeedRows& rows, const nlohmann::json& provenance) {
  Pending pending(directory);
  std::filesystem::create_directory(pending.path());
  const ShardPlan plan{rows.rows(), seeds_shard_rows};
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard)
    write_seeds_shard(
        pending.path() / shard_name(shard, plan.shards()),
        {seeds_format, newest_shard_version, plan.first_row(shard), plan.rows_of(shard), seeds_block_rows, provenance},
        rows);
  publish_manifest(pending.path(), plan, seeds_format, nlohmann::json::object());
  pending.commit(/*replace=*/true);
}

at::Tensor noise_of_ids(const std::vector<std::int64_t>& shape, std::uint64_t seed,
                        const std::vector<std::int64_t>& ids) {
  return normal_rows(shape, seed, Purpose::table_noise, ids);
}

}  // namespace couplet
