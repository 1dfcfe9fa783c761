// ot_step: images a second of a student's training (configs/fashion.ini) in batches of 1024 by 2 ranks of 1 thread,
// with the coupling `ot` against `independent`: what the assignments cost beside training, reading included.
#include "bench/memory.h"
#include "bench/training_round.h"
#include "method/couplings/coupling.h"
#include "pipeline/distributed/make_communicator.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"

#include <cmath>
#include <span>

namespace couplet {
namespace {

constexpr std::int64_t ranks = 2, data_rows = 8192, data_block = 256;
const std::string stage = "student", batch = "1024";

void write_data_set(const fs::path& directory, const SyntheticRows& rows) {
  fs::create_directories(directory);
  const ShardPlan plan{data_rows, data_rows};
  const std::vector<Column> all = coupling_columns(rows.shape, ElementType::float16);
  RowShardWriter writer(directory / shard_name(0, plan.shards()),
                        {dataset_format, newest_shard_version, 0, data_rows, data_block, nlohmann::json::object()},
                        {all[1], all[2]});
  const auto write = [&](std::size_t column, const at::Tensor& values) {
    writer.write(column, 0, {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  };
  write(0, rows.images.contiguous());
  write(1, rows.labels.to(at::kInt));
  writer.finish({});
  publish_manifest(
      directory, plan, dataset_format,
      {{"class_counts", std::vector<std::int64_t>(static_cast<std::size_t>(rows.shape.classes), data_rows / 10)}});
}

/// Images a second of the ranks of one mpirun; binding as `couplet run` has it.
double rate_of(const std::string& coupling, std::int64_t steps, const BenchDirectory& folder) {
  return number_from(
      fmt::format("OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe "
                  "--bind-to none -n {} '{}' worker '{}' {} {}",
                  ranks, fs::read_symlink("/proc/self/exe").string(), folder.path().string(), coupling, steps));
}

void run() {
  const BenchDirectory folder;
  write_data_set(folder / "data", synthetic_rows(data_rows));
  const double seconds = std::stod(batch) / rate_of("independent", 4, folder);  // of a step
  const auto steps = static_cast<std::int64_t>(std::ceil(1.1 * bench_seconds() / seconds));
  RatePairs rates;
  for (int round = 0; round < bench_rounds(); ++round) {
    const double ours = rate_of("ot", steps, folder);
    rates.add(ours, rate_of("independent", steps, folder));
  }
  rates.print("ot_step", "images/s");
}

CouplingSources sources_of(const Config& config, const fs::path& data, Communicator& communicator) {
  CouplingSources sources;
  sources.train_images = sources.test_images = data;
  sources.pairing.flips = config.couple.flips;
  sources.codec = pixel_codec();
  sources.communicator = &communicator;
  sources.pairing.batch = config.student.training.batch;
  return sources;
}

/// worker DIRECTORY COUPLING STEPS
void work(const fs::path& directory, const std::string& name, std::int64_t steps) {
  const Config config = bench_config(stage, steps, {{"student.batch", batch, "bench"}});
  const auto communicator = make_communicator("cpu");
  const auto coupling = find_coupling(name).make(sources_of(config, directory / "data", *communicator));
  const auto with_its_pairs = [&](TrainingTask& task) {
    task.agree_on_batch = [&](std::int64_t step) { coupling->agree(step); };
    task.batch = [&, made = task.batch](const BatchRange& range) {
      Batch rows = made(range);
      const Pairs pairs = coupling->draw(range);
      rows[0] = pairs.image;
      rows[1] = pairs.noise;
      return rows;
    };
  };
  const double rate =
      training_rate(stage, config, synthetic_rows(bench_rows), directory / "training", *communicator, with_its_pairs);
  if (communicator->is_root()) fmt::print("{}\n", rate);
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  couplet::open_log({}, "bench", /*rank=*/1);  // says nothing
  if (count == 5)
    couplet::work(words[2], words[3], std::stoll(words[4]));
  else
    couplet::run();
}
