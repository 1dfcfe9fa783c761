#include "stages/couple/inversion.h"

#include "method/models/patches.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/weights.h"
#include "stages/couple/round_trip.h"
#include "stages/couple/shard_output.h"
#include "stages/trained/models.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

namespace couplet {
namespace {

/// What a shard adds up for the table: sums over its rows, in row order.
struct ShardSums {
  double sum_squares = 0, nll = 0;
  std::int64_t values = 0, nonfinite_rows = 0;
  std::vector<std::int64_t> nonfinite_examples;
};

/// The rows of one slice: `slice_rows` of them always; beyond `count` they repeat the last row and are not stored, so
/// that every row is computed in a batch of the same shape.
struct Slice {
  std::int64_t count = 0;
  at::Tensor image, label, sample, flip, replicate;  ///< [slice_rows, ...]
  std::vector<std::int64_t> row;                     ///< numbers in the table
};

/// What the teacher makes of a slice, float32 on the CPU.
struct Noise {
  at::Tensor x;    ///< [N, C, H, W] the noised images
  at::Tensor f;    ///< [N, C, H, W]
  at::Tensor nll;  ///< [N]
};

Slice read_slice(const Inversion& table, std::int64_t first, std::int64_t count, std::int64_t slice_rows) {
  Slice slice{count, {}, {}, {}, {}, {}, {}};
  std::vector<std::int64_t> samples;
  std::vector<std::uint8_t> flips;
  std::vector<std::int32_t> replicates;
  for (std::int64_t i = 0; i < slice_rows; ++i) {
    slice.row.push_back(first + std::min(i, count - 1));
    const CouplingRow row = table.rows.at(slice.row.back());
    samples.push_back(row.sample);
    flips.push_back(row.flip ? 1 : 0);
    replicates.push_back(static_cast<std::int32_t>(row.replicate));
  }
  slice.sample = at::tensor(samples, at::kLong);
  slice.flip = at::tensor(flips, at::kByte);
  slice.replicate = at::tensor(replicates, at::kInt);
  const std::int64_t low = samples.front(), span = samples[static_cast<std::size_t>(count - 1)] - low + 1;
  slice.image = read_rows(table.images, "image", low, span).index_select(0, slice.sample - low);
  slice.label = read_rows(table.images, "label", low, span).index_select(0, slice.sample - low);
  const at::Tensor mirrored = slice.flip.to(at::kBool).view({-1, 1, 1, 1});
  slice.image = at::where(mirrored, slice.image.flip({3}), slice.image);
  return slice;
}

Noise invert(const Slice& slice, const Inversion& table, const Config& config, TarFlow& teacher, c10::Device device) {
  Noise noise;
  noise.x = noised_rows(slice.image, *table.codec, teacher_noise(config.teacher),
                        static_cast<std::uint64_t>(config.pipeline.seed), table.noise_purpose, slice.row);
  const at::Tensor x = noise.x.to(device), label = slice.label.to(device, at::kLong);
  const TarFlowOptions& options = teacher->options();
  // [n, 1 + values]: the likelihood and the noise.
  const at::Tensor made =
      by_row_chunks(x.size(0), device, [&](std::int64_t first, std::int64_t count) {
        const Autocast autocast(config.couple.precision, device);
        TarFlowOutput output = teacher->forward(x.narrow(0, first, count), label.narrow(0, first, count));
        output.z = output.z.to(at::kFloat);
        const at::Tensor f =
            unpatchify(teacher->standardised(output.z), options.in_channels, options.image_size, options.patch);
        const at::Tensor nll = teacher->negative_log_likelihood(output).to(at::kFloat);
        return at::cat({nll.unsqueeze(1), f.flatten(1)}, 1);
      }).cpu();
  noise.nll = made.select(1, 0).contiguous();
  noise.f = made.narrow(1, 1, made.size(1) - 1).contiguous().view(x.sizes());
  return noise;
}

void add_sums(ShardSums& sums, const Slice& slice, const Noise& noise, const at::Tensor& stored) {
  const at::Tensor squares = noise.f.flatten(1).to(at::kDouble).square().sum(1);
  const at::Tensor finite = stored.flatten(1).to(at::kFloat).isfinite().all(1) & noise.nll.isfinite();
  for (std::int64_t i = 0; i < slice.count; ++i) {
    if (!finite[i].item<bool>()) {
      ++sums.nonfinite_rows;
      if (sums.nonfinite_examples.size() < 10)
        sums.nonfinite_examples.push_back(slice.row[static_cast<std::size_t>(i)]);
      continue;
    }
    sums.sum_squares += squares[i].item<double>();
    sums.nll += noise.nll[i].item<double>();
    sums.values += noise.f.numel() / noise.f.size(0);
  }
}

void require_finite(const ShardSums& sums, const std::filesystem::path& shard, const CoupleConfig& config) {
  if (sums.nonfinite_rows == 0 || config.allow_nonfinite) return;
  fail(
      "{}: {} rows came out NaN or infinite, among them rows {} of the table: the teacher may have diverged, or the "
      "noise be too large for {}; look at the teacher's metrics, or set couple.allow-nonfinite = true to store them "
      "all the same",
      shard.string(), sums.nonfinite_rows, fmt::join(sums.nonfinite_examples, ", "), config.noise_type);
}

/// The first `count` rows of each column that a slice fills.
std::vector<std::pair<std::size_t, at::Tensor>> columns_of(const Slice& slice, const at::Tensor& stored,
                                                           const at::Tensor& nll) {
  const at::Tensor values[] = {stored, slice.image, slice.label, slice.sample, slice.flip, slice.replicate, nll};
  std::vector<std::pair<std::size_t, at::Tensor>> rows;
  for (const at::Tensor& column : values) rows.emplace_back(rows.size(), column.narrow(0, 0, slice.count).contiguous());
  return rows;
}

}  // namespace

Inverter::Inverter(const Config& config, TarFlow teacher, c10::Device device)
    : config_(config), teacher_(std::move(teacher)), device_(device) {}

Inverter::~Inverter() = default;

void Inverter::wait() {
  if (publishing_) publishing_->wait();
  publishing_.reset();
}

bool Inverter::make(const Inversion& table, std::int64_t shard) {
  const at::NoGradGuard no_grad;
  const std::int64_t slice_rows = config_.couple.slice_rows;
  const ShardHeader header = table.header(shard);
  const auto path = table.directory / shard_name(shard, table.plan.shards());
  auto output = std::make_unique<ShardOutput>(path, header, table.columns);
  RoundTrip round_trip(teacher_, device_, header.rows, config_.couple.round_trip, slice_rows);
  ShardSums sums;
  for (std::int64_t done = 0; done < header.rows; done += slice_rows) {
    if (stop_requested()) return false;
    note_progress(fmt::format("shard {}, row {} of {}", shard, done, header.rows));
    const std::int64_t count = std::min(slice_rows, header.rows - done);
    const Slice slice = read_slice(table, header.first_row + done, count, slice_rows);
    const Noise noise = invert(slice, table, config_, teacher_, device_);
    const at::Tensor stored = noise.f.to(scalar_type(table.columns.front().type)).contiguous();
    add_sums(sums, slice, noise, stored);
    round_trip.add(done, count, stored, noise.x, slice.label);
    output->write(done, columns_of(slice, stored, noise.nll));
  }
  require_finite(sums, path, config_.couple);
  output->write(0, {{table.columns.size() - 1, round_trip.finish()}});
  nlohmann::json summary{{"sum_squares", sums.sum_squares},
                         {"values", sums.values},
                         {"nll_sum", sums.nll},
                         {"nonfinite_rows", sums.nonfinite_rows}};
  summary.update(round_trip.summary());
  wait();
  output->publish(summary);
  publishing_ = std::move(output);
  return true;
}

}  // namespace couplet
