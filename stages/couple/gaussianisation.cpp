#include "stages/couple/gaussianisation.h"

#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/row_chunks.h"
#include "stages/couple/noise_map.h"
#include "stages/couple/shard_output.h"
#include "storage/error.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

namespace couplet {
namespace {

/// Of rows on the CPU.
struct MappedSlice {
  at::Tensor noise;  ///< [n, C, H, W], of the stored type
  at::Tensor nats;   ///< [n], float64, closed of the gap
  at::Tensor nll;    ///< [n], float32; undefined where the other table has none
};

struct MappedSums {
  double squares = 0, nll = 0, nats = 0, nats_squares = 0;
  std::int64_t values = 0, nonfinite_rows = 0;
};

class NoiseMapper : public ShardMaker {
public:
  NoiseMapper(std::shared_ptr<const GaussianMap> map, double sigma, CoupleConfig config, c10::Device device)
      : map_(std::move(map)), sigma_(sigma), config_(std::move(config)), device_(device) {}

  bool make(const TableSplit& table, std::int64_t shard) override;
  void wait() override {
    if (publishing_) publishing_->wait();
    publishing_.reset();
  }

private:
  MappedSlice map_rows(const TableSplit& table, std::int64_t first, std::int64_t count) const;
  void add(MappedSums& sums, const MappedSlice& slice, const std::filesystem::path& path, std::int64_t first) const;

  std::shared_ptr<const GaussianMap> map_;
  double sigma_;
  CoupleConfig config_;
  c10::Device device_;
  std::unique_ptr<ShardOutput> publishing_;
};

/// Of z = f/σ and y = T(z): ln p(x') = ln N(f; 0, I) + ln |∂f/∂x'| by the teacher alone, and ln N(y; 0, I) +
/// ln |∂f/∂x'| - d ln σ + ln |∂T/∂z| by both. What the second is more than the first is gained by dividing by σ, which
/// students of the other table do, too, and by the map: the nats that it closes.
MappedSlice NoiseMapper::map_rows(const TableSplit& table, std::int64_t first, std::int64_t count) const {
  const at::Tensor z = (read_rows(table.images, "noise", first, count).to(at::kDouble) / sigma_).to(device_);
  const at::Tensor labels = read_rows(table.images, "label", first, count).to(device_, at::kLong);
  const std::int64_t values = z[0].numel();
  const auto d = static_cast<double>(values);
  // [n, 2 + values]: nats gained by the map and by dividing by σ, and the noise.
  const at::Tensor made = by_row_chunks(count, device_, [&](std::int64_t from, std::int64_t rows) {
                            const Autocast autocast(config_.precision, device_);
                            const at::Tensor own = z.narrow(0, from, rows);
                            const MappedNoise mapped = (*map_)(own, labels.narrow(0, from, rows));
                            const MappedNoise divided{own, at::full({rows}, -d * std::log(sigma_), own.options())};
                            return at::cat({nats_gained(own, mapped).unsqueeze(1),
                                            nats_gained(own * sigma_, divided).unsqueeze(1), mapped.z.flatten(1)},
                                           1);
                          }).cpu();
  const at::Tensor noise = made.narrow(1, 2, values).contiguous().view(z.sizes());
  MappedSlice slice{noise.to(scalar_type(table.columns.front().type)).contiguous(), made.select(1, 0).contiguous(), {}};
  if (std::ranges::find(table.columns, "nll", &Column::name) == table.columns.end()) return slice;
  const at::Tensor nats = slice.nats + made.select(1, 1);
  slice.nll = (read_rows(table.images, "nll", first, count).to(at::kDouble) - nats / d).to(at::kFloat);
  return slice;
}

void NoiseMapper::add(MappedSums& sums, const MappedSlice& slice, const std::filesystem::path& path,
                      std::int64_t first) const {
  const at::Tensor noise = slice.noise.flatten(1).to(at::kDouble), squares = noise.square().sum(1);
  const at::Tensor finite = noise.isfinite().all(1) & slice.nats.isfinite();
  for (std::int64_t i = 0; i < noise.size(0); ++i) {
    if (!finite[i].item<bool>()) {
      if (!config_.allow_nonfinite)
        fail(
            "{}: row {} of the table came out NaN or infinite: the map, or couple.noise-type = {}, cannot hold it; "
            "couple.allow-nonfinite = true stores such rows all the same",
            path.string(), first + i, config_.noise_type);
      ++sums.nonfinite_rows;
      continue;
    }
    const double nats = slice.nats[i].item<double>();
    sums.squares += squares[i].item<double>();
    sums.values += noise.size(1);
    sums.nats += nats;
    sums.nats_squares += nats * nats;
    if (slice.nll.defined()) sums.nll += slice.nll[i].item<double>();
  }
}

bool NoiseMapper::make(const TableSplit& table, std::int64_t shard) {
  const at::NoGradGuard no_grad;
  const ShardHeader header = table.header(shard);
  const auto path = table.directory / shard_name(shard, table.plan.shards());
  auto output = std::make_unique<ShardOutput>(path, header, table.columns);
  MappedSums sums;
  bool has_nll = false;
  for (std::int64_t done = 0; done < header.rows; done += config_.slice_rows) {
    if (stop_requested()) return false;
    note_progress(fmt::format("shard {}, row {} of {}", shard, done, header.rows));
    const std::int64_t first = header.first_row + done, count = std::min(config_.slice_rows, header.rows - done);
    const MappedSlice slice = map_rows(table, first, count);
    has_nll = slice.nll.defined();
    add(sums, slice, path, first);
    std::vector<std::pair<std::size_t, at::Tensor>> columns;
    for (const Column& column : table.columns)
      columns.emplace_back(columns.size(), column.name == "noise" ? slice.noise
                                           : column.name == "nll" ? slice.nll
                                                                  : read_rows(table.images, column.name, first, count));
    output->write(done, std::move(columns));
  }
  nlohmann::json summary{{"sum_squares", sums.squares},
                         {"values", sums.values},
                         {"nats_sum", sums.nats},
                         {"nats_squares", sums.nats_squares},
                         {"nonfinite_rows", sums.nonfinite_rows}};
  if (has_nll) summary["nll_sum"] = sums.nll;
  wait();
  output->publish(summary);
  publishing_ = std::move(output);
  return true;
}

nlohmann::json made_from_noise(const StageContext& context, Communicator& communicator) {
  const RunTable table = find_run_table(context.config, context.node.table);
  return {{"kind", "gaussianised"},
          {"base", table.base},
          {"base_sigma_f", base_sigma(context, table)},
          {"map", table.map},
          {"learnt", hash_for_all(communicator, learnt_map(context, communicator))}};
}

/// Noise first, as in every table of ours.
std::vector<Column> mapped_columns(const std::vector<Column>& base, const CoupleConfig& config) {
  std::vector<Column> columns;
  for (const Column& column : base)
    if (column.name != "noise" && column.name != "round_trip") columns.push_back(column);
  Column noise = *std::ranges::find(base, "noise", &Column::name);
  noise.type = parse_element_type(config.noise_type);
  noise.meaning = "T(f / base_sigma_f), f the noise of the table base; divide by the manifest's sigma_f";
  columns.insert(columns.begin(), std::move(noise));
  for (Column& column : columns)
    if (column.name == "nll")
      column.meaning = "negative log-likelihood of the noised image by teacher and map together, nats a value";
  return columns;
}

/// Of noise that a teacher has made: all that is known without the other table.
std::vector<Column> mapped_teacher_columns(const DatasetShape& shape, const CoupleConfig& config) {
  return mapped_columns(coupling_columns(shape, parse_element_type(config.noise_type)), config);
}

std::unique_ptr<ShardMaker> open_mapper(const StageContext& context, const DatasetShape& shape) {
  const RunTable table = find_run_table(context.config, context.node.table);
  const std::filesystem::path path = learnt_map(context, context.communicator);
  NamedTensors state;
  run_on_all(context.communicator, [&] {
    if (!context.communicator.is_root()) return;
    const WorkingAlone alone("reading " + path.string());
    state = read_tensors(path);
  });
  state = broadcast_tensors(state, context.communicator);
  return std::make_unique<NoiseMapper>(
      find_gaussian_map(table.map).make(state, noise_map_options(context.config, table, shape), context.device),
      base_sigma(context, table), couple_config(context.config, table.name), context.device);
}

}  // namespace

const ShardedTable gaussianisation{made_from_noise, mapped_teacher_columns, open_mapper, mapped_columns};

}  // namespace couplet
