#include "stages/evaluate/sampling.h"

#include "pipeline/patches.h"
#include "pipeline/trained_model.h"
#include "stages/evaluate/starts.h"
#include "stages/student/model.h"
#include "stages/teacher/model.h"
#include "storage/error.h"

#include <torch/torch.h>

namespace couplet {
namespace {

at::Tensor request_labels(const SampleRequest& request, std::int64_t first, std::int64_t count, std::int64_t classes) {
  at::Tensor labels = torch::arange(first, first + count).remainder(classes);
  if (request.labels.empty()) return labels;
  for (const std::int64_t label : request.labels) {
    if (label < 0 || label >= classes) refuse("label {}: the data set has classes 0 to {}", label, classes - 1);
  }
  const auto chosen = torch::tensor(request.labels, torch::kInt64);
  return chosen.index_select(0, torch::arange(first, first + count).remainder(chosen.size(0)));
}

}  // namespace

Picture sample_picture(const RunDirectory& run, const Config& config, const SampleRequest& request,
                       c10::Device device) {
  const torch::NoGradGuard no_grad;
  const StageNode node = trained_model(run, config, request.model);
  const DatasetShape shape = dataset_shape(RowTable(run.train_images(), "couplet-dataset"));
  const std::int64_t slice = config.evaluate.slice_rows;
  std::function<at::Tensor(const at::Tensor& z, const at::Tensor& labels)> make;
  if (node.kind == "teacher") {
    TarFlow teacher = load_teacher(run, config.teacher, shape, device);
    make = [=](const at::Tensor& z, const at::Tensor& labels) mutable {
      const at::Tensor raw =
          teacher->reverse(patchify(z, teacher->options().patch), labels, {.guidance = request.guidance});
      return config.teacher.noise == "gaussian" && config.teacher.noise_std > 0
                 ? denoise(teacher, raw, labels, config.teacher.noise_std)
                 : raw;
    };
  } else {
    SiT student = load_student(run, config.student, node.coupling, node.seed, shape, device);
    make = [=](const at::Tensor& z, const at::Tensor& labels) mutable {
      const VelocityField velocity = [&](const at::Tensor& x, double t) {
        return student->guided_velocity(x, torch::full({x.size(0)}, t, x.options()), labels, request.guidance);
      };
      return solve(velocity, z, request.solver, request.grid, request.nfe);
    };
  }
  std::vector<at::Tensor> made;
  for (std::int64_t first = 0; first < request.count; first += slice) {
    const std::int64_t count = std::min(slice, request.count - first);
    const Starts starts = fresh_starts(shape, request.seed, first, count);
    made.push_back(
        to_uint8(make(starts.z.to(device), request_labels(request, first, count, shape.classes).to(device))).cpu());
  }
  const std::int64_t columns =
      request.labels.empty() ? shape.classes : static_cast<std::int64_t>(request.labels.size());
  return picture_of(torch::cat(made), std::min(columns, request.count));
}

}  // namespace couplet
