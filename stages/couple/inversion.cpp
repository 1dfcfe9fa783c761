#include "stages/couple/inversion.h"

#include "method/models/patches.h"
#include "method/models/tarflow.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/weights.h"
#include "stages/couple/round_trip.h"
#include "stages/couple/shard_output.h"
#include "stages/couple/table_slice.h"
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

/// What the teacher makes of a slice, float32 on the CPU.
struct Noise {
  at::Tensor x;    ///< [N, C, H, W] the noised images
  at::Tensor f;    ///< [N, C, H, W]
  at::Tensor nll;  ///< [N]
};

/// What a teacher inverts by.
struct InversionSettings {
  CoupleConfig couple;
  ImageNoise noise;  ///< that it was trained with
  std::uint64_t seed = 0;
};

Noise invert(const TableSlice& slice, const TableSplit& table, const InversionSettings& settings, TarFlow& teacher,
             c10::Device device) {
  Noise noise;
  noise.x = noised_rows(slice.image, *table.codec, settings.noise, settings.seed,
                        table.is_training() ? Purpose::coupling_noise : Purpose::validation_noise, slice.row);
  const at::Tensor x = noise.x.to(device), label = slice.label.to(device, at::kLong);
  const TarFlowOptions& options = teacher->options();
  // [n, 1 + values]: the likelihood and the noise.
  const at::Tensor made =
      by_row_chunks(x.size(0), device, [&](std::int64_t first, std::int64_t count) {
        const Autocast autocast(settings.couple.precision, device);
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

void add_sums(ShardSums& sums, const TableSlice& slice, const Noise& noise, const at::Tensor& stored) {
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
std::vector<std::pair<std::size_t, at::Tensor>> columns_of(const TableSlice& slice, const at::Tensor& image,
                                                           const at::Tensor& stored, const at::Tensor& nll) {
  const at::Tensor values[] = {stored, image, slice.label, slice.sample, slice.flip, slice.replicate, nll};
  std::vector<std::pair<std::size_t, at::Tensor>> rows;
  for (const at::Tensor& column : values) rows.emplace_back(rows.size(), column.narrow(0, 0, slice.count).contiguous());
  return rows;
}

/// Holds two slices, and the rows whose round trip is measured until there are a slice of them.
class Inverter : public ShardMaker {
public:
  Inverter(InversionSettings settings, TarFlow teacher, c10::Device device)
      : settings_(std::move(settings)), teacher_(std::move(teacher)), device_(device) {}

  bool make(const TableSplit& table, std::int64_t shard) override;
  void wait() override {
    if (publishing_) publishing_->wait();
    publishing_.reset();
  }

private:
  InversionSettings settings_;
  TarFlow teacher_;
  c10::Device device_;
  std::unique_ptr<ShardOutput> publishing_;
};

bool Inverter::make(const TableSplit& table, std::int64_t shard) {
  const at::NoGradGuard no_grad;
  const std::int64_t slice_rows = settings_.couple.slice_rows;
  const ShardHeader header = table.header(shard);
  const auto path = table.directory / shard_name(shard, table.plan.shards());
  auto output = std::make_unique<ShardOutput>(path, header, table.columns);
  RoundTrip round_trip(teacher_, device_, header.rows, settings_.couple.round_trip, slice_rows);
  ShardSums sums;
  for (std::int64_t done = 0; done < header.rows; done += slice_rows) {
    if (stop_requested()) return false;
    note_progress(fmt::format("shard {}, row {} of {}", shard, done, header.rows));
    const std::int64_t count = std::min(slice_rows, header.rows - done);
    const TableSlice slice = read_slice(table, header.first_row + done, count, slice_rows);
    const Noise noise = invert(slice, table, settings_, teacher_, device_);
    const at::Tensor stored = noise.f.to(scalar_type(table.columns.front().type)).contiguous();
    add_sums(sums, slice, noise, stored);
    round_trip.add(done, count, stored, noise.x, slice.label);
    output->write(done, columns_of(slice, table_images(slice.image, *table.codec), stored, noise.nll));
  }
  require_finite(sums, path, settings_.couple);
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

nlohmann::json made_from_teacher(const StageContext& context, Communicator& communicator) {
  const TeacherConfig& teacher = context.config.teacher;
  const CoupleConfig couple = couple_config(context.config, context.node.table);
  nlohmann::json made{
      {"kind", "nf"},
      {"teacher", hash_for_all(communicator, inverting_weights(context.config, context.run, context.node.table))},
      {"noise", teacher.noise},
      {"noise_std", teacher.noise_std},
      {"round_trip", couple.round_trip}};
  if (couple.ema >= 0) made["teacher_ema"] = couple.ema;
  return made;
}

std::vector<Column> inversion_columns(const DatasetShape& shape, const CoupleConfig& config) {
  return coupling_columns(shape, parse_element_type(config.noise_type));
}

std::unique_ptr<ShardMaker> open_inverter(const StageContext& context, const DatasetShape& shape) {
  const Config& config = context.config;
  return std::make_unique<Inverter>(
      InversionSettings{couple_config(config, context.node.table), teacher_noise(config.teacher),
                        static_cast<std::uint64_t>(config.pipeline.seed)},
      load_teacher(inverting_weights(config, context.run, context.node.table), config.teacher, shape, context.device,
                   context.communicator),
      context.device);
}

}  // namespace

const ShardedTable inversion{made_from_teacher, inversion_columns, open_inverter};

}  // namespace couplet
