#include "stages/couple/reflow.h"

#include "method/data/noise.h"
#include "method/sampling/guided_field.h"
#include "method/solvers/integration.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/weights.h"
#include "stages/couple/shard_output.h"
#include "stages/couple/table_slice.h"
#include "stages/data/run_tables.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/tables/filenames.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace couplet {
namespace {

/// Room for the rows of one split of one round: no two share noise.
constexpr std::int64_t rows_of_a_split = std::int64_t{1} << 40;

Integration reflow_integration(const CoupleConfig& config) {
  if (config.solver == "dopri5") return adaptive_integration({config.tolerance, config.tolerance});
  return fixed_integration(parse_solver(config.solver), Grid::uniform, config.nfe);
}

std::filesystem::path flow_weights(const StageContext& context, const RunTable& table) {
  const StudentConfig student = student_config(context.config, table.student);
  return weights_file(context.run.student(table.student, student.seeds.front()), student.training.ema,
                      student.training.ema.front());
}

/// Of rows on the CPU.
struct FlowEnd {
  at::Tensor x;            ///< [n, C, H, W] at t = 0
  at::Tensor evaluations;  ///< [n] of the field, that each row's chunk took
};

class FlowSampler : public ShardMaker {
public:
  FlowSampler(StudentFlow flow, CoupleConfig config, std::uint64_t seed, std::int64_t round, c10::Device device)
      : flow_(std::move(flow)), config_(std::move(config)), seed_(seed), round_(round), device_(device) {}

  bool make(const TableSplit& table, std::int64_t shard) override;
  void wait() override {
    if (publishing_) publishing_->wait();
    publishing_.reset();
  }

private:
  at::Tensor noise(const TableSplit& table, const TableSlice& slice) const;
  FlowEnd end_of(const at::Tensor& z, const at::Tensor& labels) const;

  StudentFlow flow_;
  CoupleConfig config_;
  std::uint64_t seed_;
  std::int64_t round_;
  c10::Device device_;
  std::unique_ptr<ShardOutput> publishing_;
};

at::Tensor FlowSampler::noise(const TableSplit& table, const TableSlice& slice) const {
  const std::int64_t first = (2 * round_ + (table.is_training() ? 0 : 1)) * rows_of_a_split;
  std::vector<std::int64_t> indices;
  for (const std::int64_t row : slice.row) indices.push_back(first + row);
  return normal_rows(table.codec->seen_shape(slice.image.sizes().slice(1).vec()), seed_, Purpose::reflow_noise,
                     indices);
}

FlowEnd FlowSampler::end_of(const at::Tensor& z, const at::Tensor& labels) const {
  const Integration integration = reflow_integration(config_);
  // [n, values + 1]: the image and the evaluations of its chunk.
  const at::Tensor made =
      by_row_chunks(z.size(0), device_, [&](std::int64_t first, std::int64_t count) {
        const Condition condition{labels.narrow(0, first, count), {}};
        const at::Tensor start = flow_.start(z.narrow(0, first, count), condition);
        const Integrated end = integrate(flow_.velocity(condition), start, integration);
        const at::Tensor evaluations = at::full({count, 1}, static_cast<double>(end.nfe), end.x.options());
        return at::cat({end.x.flatten(1), evaluations}, 1);
      }).cpu();
  const std::int64_t values = made.size(1) - 1;
  return {made.narrow(1, 0, values).contiguous().view(z.sizes()), made.select(1, values)};
}

bool FlowSampler::make(const TableSplit& table, std::int64_t shard) {
  const at::NoGradGuard no_grad;
  const ShardHeader header = table.header(shard);
  const auto path = table.directory / shard_name(shard, table.plan.shards());
  auto output = std::make_unique<ShardOutput>(path, header, table.columns);
  double squares = 0, evaluations = 0;
  std::int64_t values = 0, nonfinite = 0;
  for (std::int64_t done = 0; done < header.rows; done += config_.slice_rows) {
    if (stop_requested()) return false;
    note_progress(fmt::format("shard {}, row {} of {}", shard, done, header.rows));
    const std::int64_t count = std::min(config_.slice_rows, header.rows - done);
    const TableSlice slice = read_slice(table, header.first_row + done, count, config_.slice_rows);
    const at::Tensor z = noise(table, slice);
    const FlowEnd made = end_of(z.to(device_), slice.label.to(device_, at::kLong));
    const auto stored = [&](const at::Tensor& seen) {
      return seen.narrow(0, 0, count).to(scalar_type(table.columns.front().type)).contiguous();
    };
    const at::Tensor noise_stored = stored(z), image_stored = stored(made.x);
    squares += noise_stored.to(at::kDouble).square().sum().item<double>();
    values += noise_stored.numel();
    evaluations += made.evaluations.narrow(0, 0, count).sum().item<double>();
    const at::Tensor finite = image_stored.flatten(1).isfinite().all(1);
    nonfinite += count - finite.sum().item<std::int64_t>();
    if (nonfinite > 0 && !config_.allow_nonfinite)
      fail(
          "{}: row {} of the table came out NaN or infinite: the student may have diverged; look at its metrics, or "
          "set couple.allow-nonfinite = true to store such rows all the same",
          path.string(), header.first_row + done + (~finite).nonzero()[0][0].item<std::int64_t>());
    const auto own = [&](const at::Tensor& column) { return column.narrow(0, 0, count).contiguous(); };
    output->write(done, {{0, noise_stored},
                         {1, image_stored},
                         {2, own(slice.label)},
                         {3, own(slice.sample)},
                         {4, own(slice.flip)},
                         {5, own(slice.replicate)}});
  }
  wait();
  output->publish(
      {{"sum_squares", squares}, {"values", values}, {"evaluations", evaluations}, {"nonfinite_rows", nonfinite}});
  publishing_ = std::move(output);
  return true;
}

nlohmann::json made_from_student(const StageContext& context, Communicator& communicator) {
  const RunTable table = find_run_table(context.config, context.node.table);
  const CoupleConfig config = couple_config(context.config, table.name);
  return {{"kind", "reflow"},
          {"student", table.student},
          {"weights", hash_for_all(communicator, flow_weights(context, table))},
          {"round", table.round},
          {"integration", reflow_integration(config).text()},
          {"guidance", config.guidance}};
}

std::vector<Column> reflow_columns(const DatasetShape& shape, const CoupleConfig& config) {
  std::vector<Column> columns = coupling_columns(shape, parse_element_type(config.noise_type));
  columns.resize(6);  // neither likelihood nor round trip
  columns[0].meaning = "standard normal noise";
  columns[1].type = columns[0].type;
  columns[1].meaning = "where the student's flow carries the noise, as models see images";
  columns[3].meaning = "row of the data set whose label it has";
  return columns;
}

std::unique_ptr<ShardMaker> open_flow(const StageContext& context, const DatasetShape& shape) {
  const RunTable table = find_run_table(context.config, context.node.table);
  const CoupleConfig config = couple_config(context.config, table.name);
  const StudentModel student = load_student(flow_weights(context, table), student_config(context.config, table.student),
                                            shape, context.device, context.communicator);
  return std::make_unique<FlowSampler>(StudentFlow(student, {.scale = config.guidance}, config.precision), config,
                                       static_cast<std::uint64_t>(context.config.pipeline.seed), table.round,
                                       context.device);
}

}  // namespace

const ShardedTable reflow{made_from_student, reflow_columns, open_flow};

}  // namespace couplet
