// write_coupling_table TABLE SEEDS NOISE: a finished coupling table of 80 rows (40 samples and their mirror images) in
// shards of 32, whose values are functions of row and position, a table of seeds of a few rows (and one besides,
// SEEDS-twice, that gives a noise twice), and a file of the noise of its ids, float32 [2, 4, 4] each;
// coupling_readers_test.py has the same functions.
#include "method/tables/coupling_table.h"
#include "method/tables/seeds_table_writer.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"

#include <ATen/ATen.h>

#include <cstdio>

namespace couplet {
namespace {

constexpr CouplingRows numbering{40, true, 1};
constexpr ShardPlan plan{80, 32};

/// The columns of rows [first, first + count), in the table's order.
std::vector<at::Tensor> values(std::int64_t first, std::int64_t count) {
  const at::Tensor row = at::arange(first, first + count, at::kLong);
  const at::Tensor position = at::arange(first * 32, (first + count) * 32, at::kLong).view({count, 2, 4, 4});
  std::vector<at::Tensor> sample, flip;
  for (std::int64_t i = 0; i < count; ++i) {
    sample.push_back(at::scalar_tensor(numbering.at(first + i).sample, at::kLong));
    flip.push_back(at::scalar_tensor(numbering.at(first + i).flip ? 1 : 0, at::kByte));
  }
  return {((position * 7).remainder(97) - 48).to(at::kHalf) / 16,
          (position * 5).remainder(256).to(at::kByte),
          row.remainder(10).to(at::kInt),
          at::stack(sample),
          at::stack(flip),
          at::zeros({count}, at::kInt),
          row.to(at::kFloat) / 4,
          at::where(row.remainder(10) == 0, row.to(at::kFloat) / 8, at::full({count}, -1, at::kFloat))};
}

void write_table(const fs::path& directory) {
  fs::create_directories(directory);
  const std::vector<Column> columns = coupling_columns({2, 4, 10, {}}, ElementType::float16);
  const nlohmann::json provenance{
      {"kind", "nf"}, {"teacher", "a"}, {"dataset", "b"}, {"flips", true}, {"replicates", 1}};
  for (std::int64_t shard = 0; shard < plan.shards(); ++shard) {
    const std::int64_t first = plan.first_row(shard), count = plan.rows_of(shard);
    RowShardWriter writer(directory / shard_name(shard, plan.shards()),
                          {coupling_format, 1, first, count, 8, provenance}, columns);
    std::size_t column = 0;
    for (const at::Tensor& rows : values(first, count))
      writer.write(column++, 0, {static_cast<const std::byte*>(rows.const_data_ptr()), rows.nbytes()});
    writer.finish({{"nonfinite_rows", 0}});
  }
  publish_manifest(directory, plan, coupling_format, {{"sigma_f", 2.5}});
}

void write_seeds(const fs::path& directory, const fs::path& noise_file) {
  constexpr std::uint64_t seed = (std::uint64_t{1} << 63) + 12345;
  SeedRows rows;
  rows.add(3, 1, 0, false);
  rows.add((std::int64_t{1} << 40) + 7, 1, 0, true);
  rows.add(0, 2, 5, false);
  publish_seeds(directory, rows, {{"kind", "toy"}, {"seed", seed}});
  SeedRows twice = rows;
  twice.add(3, 2, 6, false);
  publish_seeds(directory.string() + "-twice", twice, {{"kind", "toy"}, {"seed", seed}});
  const at::Tensor noise = noise_of_ids({2, 4, 4}, seed, rows.noise_id);
  const std::span<const std::byte> bytes = bytes_of(noise);
  publish_file(noise_file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  try {
    if (count != 4) couplet::refuse("write_coupling_table TABLE SEEDS NOISE");
    couplet::write_table(words[1]);
    couplet::write_seeds(words[2], words[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
