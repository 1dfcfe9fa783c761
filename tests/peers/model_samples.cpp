// model_samples RUN MODEL COUNT NFE FILE: samples of a run's model as `couplet sample` makes them from its seed 0,
// before they become pixels (and a teacher's before it denoises them), into a safetensors file: z, labels, samples.
#include "method/models/patches.h"
#include "method/sampling/initial_noise.h"
#include "method/solvers/fixed_step.h"
#include "pipeline/config/options.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/trained/models.h"
#include "storage/error.h"
#include "storage/tables/row_table.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

namespace couplet {
namespace {

at::Tensor sample(const RunView& view, const std::string& name, const DatasetShape& shape, const at::Tensor& z,
                  const at::Tensor& labels, std::int64_t nfe) {
  const at::NoGradGuard no_grad;
  const StageNode node = trained_model(view, name);
  const auto alone = make_single_communicator();
  const auto weights = [&](const TrainingConfig& training) {
    return weights_file(view.run.stage(node.name), training.ema, training.ema.front());
  };
  if (node.kind == "teacher") {
    const TeacherConfig& config = view.config.teacher;
    TarFlow teacher = load_teacher(weights(config.training), config, shape, at::kCPU, *alone);
    return teacher->reverse(patchify(z, teacher->options().patch), labels);
  }
  const StudentConfig config = student_config(view.config, node.student);
  const StudentFlow flow(load_student(weights(config.training), config, shape, at::kCPU, *alone), {}, "float32");
  return solve(flow.velocity({labels, {}}), flow.start(z, {}), Solver::euler, Grid::uniform, nfe);
}

}  // namespace
}  // namespace couplet

int main(int count, char** words) {
  using namespace couplet;
  if (count != 6) return exit_usage;
  try {
    offer_members();
    const OpenedRun run = open_run(words[1]);
    const DatasetShape shape = dataset_shape(RowTable(run.directory.train_images(), dataset_format));
    const std::int64_t rows = std::stoll(words[3]);
    const at::Tensor z = fresh_noise(shape, 0, 0, rows).z, labels = at::arange(rows).remainder(shape.labels());
    write_tensors(words[5], {{"z", z},
                             {"labels", labels},
                             {"samples", sample(run.view(), words[2], shape, z, labels, std::stoll(words[4]))}});
    return exit_ok;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return exit_failed;
  }
}
