// jacobi_sample_16, jacobi_sample_256: images a second of sampling from the trained teacher of the run
// COUPLET_BENCH_RUN (float32, batches of 16 and 256) against encoreus/GS-Jacobi_for_TarFlow (bench/jacobi_peer.py), the
// fastest of its settings whose images differ from ours by 1e-4 or less of their root mean square. How many iterations
// that takes depends on the weights, so that drawn ones would say nothing.
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/peer.h"
#include "method/models/tarflow.h"
#include "pipeline/tensor/torch_file.h"
#include "stages/kinds.h"
#include "stages/opened_run.h"
#include "stages/trained/models.h"
#include "storage/tables/row_table.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

namespace couplet {
namespace {

constexpr double tolerance = 1e-4;

struct Teacher {
  TarFlow model;
  NamedTensors published;  ///< its weights by ml-tarflow's names
};

Teacher teacher_of(const std::string& directory) {
  const OpenedRun run = open_run(directory);
  const TeacherConfig& config = run.config.teacher;
  const DatasetShape shape = dataset_shape(RowTable(run.directory.train_images(), dataset_format));
  const fs::path weights =
      weights_file(run.directory.stage("teacher"), config.training.ema, config.training.ema.front());
  const auto alone = make_single_communicator();
  return {load_teacher(weights, config, shape, at::kCPU, *alone),
          export_tarflow(read_tensors(weights), teacher_options(config, shape))};
}

void compare(Teacher& teacher, std::int64_t batch, const std::string& peers) {
  const TarFlowOptions& options = teacher.model->options();
  const at::Tensor z = at::randn({batch, options.tokens(), options.token_size()});
  const at::Tensor labels = at::arange(batch).remainder(std::max<std::int64_t>(options.num_classes, 1));
  const auto sample = [&] { return teacher.model->reverse(z, labels); };

  const BenchDirectory directory;
  const fs::path file = directory / "teacher.pt";
  NamedTensors tensors = teacher.published;
  tensors.insert({{"z", z}, {"labels", labels}, {"images", sample()}});
  publish_torch_file(file, tensors);
  PeerProcess peer("jacobi_peer.py",
                   {peers, file, fmt::format("{}", options.in_channels), fmt::format("{}", options.patch),
                    fmt::format("{}", tolerance), fmt::format("{}", at::get_num_threads())});
  compare_rates(
      fmt::format("jacobi_sample_{}", batch), "images/s", static_cast<double>(batch), bench_rounds(), [&] { sample(); },
      [&] { peer.ask("call"); });
}

}  // namespace
}  // namespace couplet

int main() {
  using namespace couplet;
  const auto peers = peers_folder();
  const char* run = std::getenv("COUPLET_BENCH_RUN");
  if (!peers || run == nullptr) {
    fmt::print(
        "bench jacobi_sample ours=skipped theirs=skipped ratio=skipped (COUPLET_PEERS or COUPLET_BENCH_RUN, a "
        "run with a teacher, is unset)\n");
    return 0;
  }
  const at::NoGradGuard no_grad;
  offer_members();
  Teacher teacher = teacher_of(run);
  for (const std::int64_t batch : {16, 256}) compare(teacher, batch, *peers);
}
