#include "stages/couple/couple.h"

#include "pipeline/autocast.h"
#include "pipeline/interruption.h"
#include "pipeline/log.h"
#include "pipeline/patches.h"
#include "pipeline/weights.h"
#include "stages/couple/coupling_table.h"
#include "stages/teacher/model.h"
#include "storage/atomic_file.h"
#include "storage/filenames.h"
#include "storage/hash.h"

#include <fmt/ranges.h>
#include <torch/torch.h>

#include <cmath>

namespace couplet {
namespace {

/// One table to make: the images it comes from and what a row number means.
struct Inversion {
  const RowTable& images;
  CouplingRows rows;
  Purpose noise_purpose;
  fs::path directory;
  std::string split;
  nlohmann::json provenance;
};

/// What a shard adds up for the table: sums over its rows, in row order.
struct ShardSums {
  double sum_squares = 0, nll = 0;
  std::int64_t values = 0, nonfinite_rows = 0;
  std::vector<std::int64_t> nonfinite_examples;
};

/// The rows of one slice: `slice_rows` of them always; beyond `count` they repeat the last row and are not stored, so
/// that every row is computed in a batch of the same shape.
struct Slice {
  std::int64_t first = 0, count = 0;
  at::Tensor image, label, sample, flip, replicate;  ///< [slice_rows, ...]
  std::vector<std::int64_t> row;
};

Slice read_slice(const Inversion& inversion, std::int64_t first, std::int64_t count, std::int64_t slice_rows) {
  Slice slice{first, count, {}, {}, {}, {}, {}, {}};
  std::vector<std::int64_t> samples;
  std::vector<std::uint8_t> flips;
  std::vector<std::int32_t> replicates;
  for (std::int64_t i = 0; i < slice_rows; ++i) {
    slice.row.push_back(first + std::min(i, count - 1));
    const CouplingRow row = inversion.rows.at(slice.row.back());
    samples.push_back(row.sample);
    flips.push_back(row.flip ? 1 : 0);
    replicates.push_back(static_cast<std::int32_t>(row.replicate));
  }
  slice.sample = torch::tensor(samples, torch::kInt64);
  slice.flip = torch::tensor(flips, torch::kUInt8);
  slice.replicate = torch::tensor(replicates, torch::kInt32);
  const std::int64_t low = samples.front(), span = samples[static_cast<std::size_t>(count - 1)] - low + 1;
  slice.image = read_rows(inversion.images, "image", low, span).index_select(0, slice.sample - low);
  slice.label = read_rows(inversion.images, "label", low, span).index_select(0, slice.sample - low);
  const at::Tensor mirrored = slice.flip.to(torch::kBool).view({-1, 1, 1, 1});
  slice.image = torch::where(mirrored, slice.image.flip({3}), slice.image);
  return slice;
}

void add_sums(ShardSums& sums, const Slice& slice, const at::Tensor& f, const at::Tensor& stored,
              const at::Tensor& nll) {
  const at::Tensor squares = f.flatten(1).to(torch::kFloat64).square().sum(1);
  const at::Tensor finite = stored.flatten(1).to(torch::kFloat32).isfinite().all(1) & nll.isfinite();
  for (std::int64_t i = 0; i < slice.count; ++i) {
    if (!finite[i].item<bool>()) {
      ++sums.nonfinite_rows;
      if (sums.nonfinite_examples.size() < 10)
        sums.nonfinite_examples.push_back(slice.row[static_cast<std::size_t>(i)]);
      continue;
    }
    sums.sum_squares += squares[i].item<double>();
    sums.nll += nll[i].item<double>();
    sums.values += f.numel() / f.size(0);
  }
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), static_cast<std::size_t>(tensor.nbytes())};
}

/// Computes and publishes one shard. Returns false, publishing nothing, if this rank was asked to stop meanwhile.
bool write_shard(StageContext& context, const Inversion& inversion, TarFlow& teacher, const ShardPlan& plan,
                 std::int64_t index, const ShardHeader& header, const std::vector<Column>& columns) {
  const CoupleConfig& config = context.config.couple;
  const torch::NoGradGuard no_grad;
  Pending pending(inversion.directory / shard_name(index, plan.shards()));
  RowShardWriter writer(pending.path(), header, columns);
  const auto noise_type = scalar_type(columns.front().type);
  ShardSums sums;
  for (std::int64_t done = 0; done < header.rows; done += config.slice_rows) {
    if (stop_requested()) return false;
    const std::int64_t count = std::min(config.slice_rows, header.rows - done);
    const Slice slice = read_slice(inversion, header.first_row + done, count, config.slice_rows);
    const at::Tensor x =
        noised_rows(slice.image, teacher_noise(context.config.teacher),
                    static_cast<std::uint64_t>(context.config.pipeline.seed), inversion.noise_purpose, slice.row)
            .to(context.device);
    TarFlowOutput output;
    {
      const Autocast autocast(config.precision, context.device);
      output = teacher->forward(x, slice.label.to(context.device, torch::kInt64));
    }
    output.z = output.z.to(torch::kFloat32);
    const at::Tensor nll = teacher->negative_log_likelihood(output).to(torch::kFloat32).cpu().contiguous();
    const at::Tensor f = unpatchify(teacher->standardised(output.z), teacher->options().in_channels,
                                    teacher->options().image_size, teacher->options().patch)
                             .cpu()
                             .contiguous();
    const at::Tensor stored = f.to(noise_type).contiguous();
    add_sums(sums, slice, f, stored, nll);
    const at::Tensor written[] = {stored, slice.image, slice.label, slice.sample, slice.flip, slice.replicate, nll};
    for (std::size_t column = 0; column < columns.size(); ++column) {
      writer.write(column, done, bytes_of(written[column].narrow(0, 0, count).contiguous()));
    }
  }
  if (sums.nonfinite_rows > 0 && !config.allow_nonfinite) {
    fail(
        "{} rows of shard {} came out NaN or infinite, among them rows {}: the teacher may have diverged, or the noise "
        "be too large for {}; "
        "look at its metrics, or set couple.allow-nonfinite = true to store them all the same",
        sums.nonfinite_rows, shard_name(index, plan.shards()), fmt::join(sums.nonfinite_examples, ", "),
        config.noise_type);
  }
  writer.finish({{"sum_squares", sums.sum_squares},
                 {"values", sums.values},
                 {"nll_sum", sums.nll},
                 {"nonfinite_rows", sums.nonfinite_rows}});
  pending.commit();
  return true;
}

/// σ_f² is the mean of f² over all rows and values (method of NFM: one scalar).
nlohmann::json table_summary(const fs::path& directory, const ShardPlan& plan) {
  double sum_squares = 0, nll = 0;
  std::int64_t values = 0, nonfinite = 0;
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    const nlohmann::json summary = RowShard(directory / shard_name(index, plan.shards()), coupling_format).summary();
    sum_squares += summary.at("sum_squares").get<double>();
    values += summary.at("values").get<std::int64_t>();
    nll += summary.at("nll_sum").get<double>();
    nonfinite += summary.at("nonfinite_rows").get<std::int64_t>();
  }
  return {{"sigma_f", std::sqrt(sum_squares / static_cast<double>(values))},
          {"nll_mean", nll / static_cast<double>(plan.rows - nonfinite)},
          {"nonfinite_rows", nonfinite}};
}

/// Makes the shards that are missing, each rank every size-th of them, and closes the table.
void invert(StageContext& context, const Inversion& inversion, TarFlow& teacher) {
  const CoupleConfig& config = context.config.couple;
  Communicator& communicator = context.communicator;
  const ShardPlan plan{inversion.rows.rows(), config.shard_rows};
  const DatasetShape shape = dataset_shape(inversion.images);
  const std::vector<Column> columns = coupling_columns(shape, parse_element_type(config.noise_type));
  fs::create_directories(inversion.directory);
  if (communicator.is_root()) remove_leftovers(inversion.directory);
  communicator.barrier();
  std::vector<std::int64_t> missing;
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    const ShardHeader header{coupling_format,     1, plan.first_row(index), plan.rows_of(index), config.block_rows,
                             inversion.provenance};
    std::string why;
    if (!shard_is_complete(inversion.directory, plan, index, header, columns, why)) missing.push_back(index);
  }
  communicator.barrier();  // nobody publishes while another still looks
  say("{} of {} shards of {} rows are to be made in {}", missing.size(), plan.shards(), plan.shard_rows,
      inversion.directory.string());
  Progress progress(0, static_cast<std::int64_t>(missing.size()));
  const auto size = static_cast<std::size_t>(communicator.size());
  for (std::size_t round = 0; round < missing.size(); round += size) {
    const std::size_t mine = round + static_cast<std::size_t>(communicator.rank());
    if (mine < missing.size() && !stop_requested()) {
      const std::int64_t index = missing[mine];
      write_shard(
          context, inversion, teacher, plan, index,
          {coupling_format, 1, plan.first_row(index), plan.rows_of(index), config.block_rows, inversion.provenance},
          columns);
    }
    if (agree_to_stop(communicator))
      throw Interrupted(
          fmt::format("{}: stopped after whole shards; the same command makes the rest", context.node.name));
    const auto done = static_cast<std::int64_t>(std::min(round + size, missing.size()));
    if (progress.due(done)) {
      say("{}: shard {}/{}, {:.0f} rows/s, {} left", inversion.split, done, missing.size(),
          progress.rate(done) * static_cast<double>(plan.shard_rows), progress.remaining(done));
    }
  }
  if (!communicator.is_root()) return;
  const nlohmann::json summary = table_summary(inversion.directory, plan);
  publish_manifest(inversion.directory, plan, coupling_format, summary);
  say("{}: {} rows, sigma_f {:.4f}, NLL {:.4f} nats a value, {} rows not finite", inversion.split, plan.rows,
      summary["sigma_f"].get<double>(), summary["nll_mean"].get<double>(),
      summary["nonfinite_rows"].get<std::int64_t>());
}

}  // namespace

void couple(StageContext& context) {
  const Config& config = context.config;
  const RowTable train(context.run.train_images(), "couplet-dataset");
  const RowTable test(context.run.test_images(), "couplet-dataset");
  const DatasetShape shape = dataset_shape(train);
  TarFlow teacher = load_teacher(context.run, config.teacher, shape, context.device);
  const std::string teacher_hash = hash_file(context.run.teacher_ema());
  auto provenance = [&](const RowTable& images, const std::string& split) {
    return nlohmann::json{{"teacher", teacher_hash},
                          {"dataset", images.content_hash()},
                          {"split", split},
                          {"noise", config.teacher.noise},
                          {"noise_std", config.teacher.noise_std},
                          {"seed", config.pipeline.seed},
                          {"flips", split == "train" && config.couple.flips},
                          {"replicates", config.couple.replicates},
                          {"slice_rows", config.couple.slice_rows},
                          {"precision", config.couple.precision}};
  };
  const Inversion training{train,
                           {train.rows(), config.couple.flips, config.couple.replicates},
                           Purpose::coupling_noise,
                           context.run.coupling(),
                           "train",
                           provenance(train, "train")};
  const Inversion held_out{test,   {test.rows(), false, 1}, Purpose::validation_noise, context.run.coupling_test(),
                           "test", provenance(test, "test")};
  invert(context, training, teacher);
  context.communicator.barrier();
  invert(context, held_out, teacher);
}

}  // namespace couplet
