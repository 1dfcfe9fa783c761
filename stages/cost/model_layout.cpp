#include "stages/cost/model_layout.h"

#include "pipeline/config/options.h"
#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/tensor/weights.h"
#include "pipeline/tensor/without_memory.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"

#include <memory>
#include <numeric>

namespace couplet {
namespace {

/// The model that the node trains; null where it trains none.
std::shared_ptr<torch::nn::Module> module_of(const StageNode& node, const CostModel& model) {
  const Config& config = model.config;
  const DatasetShape& shape = model.dataset.shape;
  if (node.kind == "features") return make_classifier(classifier_options(config.features, shape), 0).ptr();
  if (node.kind == "loss-features") return make_classifier(loss_classifier_options(config.features, shape), 0).ptr();
  if (node.kind == "autoencoder") return make_autoencoder(autoencoder_options(config.autoencoder, shape), 0).ptr();
  if (node.kind == "teacher") return make_tarflow(teacher_options(config.teacher, shape), 0).ptr();
  if (node.kind == "gaussianiser") return make_tarflow(gaussianiser_options(config.gaussianiser, shape), 0).ptr();
  if (node.kind == "noise-classifier")
    return make_noise_classifier(noise_classifier_options(config.noise_classifier, shape), 0).ptr();
  if (node.kind != "student") return nullptr;
  const StudentConfig student = student_config(config, node.student);
  return find_field(student.field).make(student_options(student, shape), 0);
}

}  // namespace

double ModelLayout::reduced_bytes() const {
  return std::accumulate(bucket_bytes.begin(), bucket_bytes.end(), 0.0);
}

ModelLayout layout_of(const StageNode& node, const CostModel& model, bool on_gpu, std::int64_t groups) {
  const WithoutMemory without_memory;
  const std::shared_ptr<torch::nn::Module> module = module_of(node, model);
  if (module == nullptr) return {};
  ModelLayout layout;
  for (const auto& [name, tensor] : named_tensors(*module)) {
    ++layout.tensors;
    layout.bytes += static_cast<double>(tensor.nbytes());
  }
  for (const at::Tensor& parameter : module->parameters())
    if (parameter.requires_grad()) layout.trained_bytes += static_cast<double>(parameter.nbytes());
  const FlatParameters parameters(*module, {bucket_bytes(model.config.pipeline.bucket_size, on_gpu), groups});
  for (const Bucket& bucket : parameters.buckets())
    layout.bucket_bytes.push_back(static_cast<double>(bucket.gradients.nbytes()));
  return layout;
}

}  // namespace couplet
