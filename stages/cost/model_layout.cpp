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

/// A model of shapes alone. Its options are found before: that may take arithmetic.
template <class Make, class Options>
auto without_memory(const Make& make, const Options& options) {
  const WithoutMemory guard;
  return make(options, 0);
}

/// The model that the node trains; null where it trains none.
std::shared_ptr<torch::nn::Module> module_of(const StageNode& node, const CostModel& model) {
  const Config& config = model.config;
  const DatasetShape& shape = model.dataset.shape;
  if (node.kind == "features") return without_memory(make_classifier, classifier_options(config.features, shape)).ptr();
  if (node.kind == "loss-features")
    return without_memory(make_classifier, loss_classifier_options(config.features, shape)).ptr();
  if (node.kind == "autoencoder")
    return without_memory(make_autoencoder, autoencoder_options(config.autoencoder, shape)).ptr();
  if (node.kind == "teacher") return without_memory(make_tarflow, teacher_options(config.teacher, shape)).ptr();
  if (node.kind == "gaussianiser")
    return without_memory(make_tarflow, gaussianiser_options(config.gaussianiser, shape)).ptr();
  if (node.kind == "noise-classifier")
    return without_memory(make_noise_classifier, noise_classifier_options(config.noise_classifier, shape)).ptr();
  if (node.kind != "student") return nullptr;
  const StudentConfig student = student_config(config, node.student);
  return without_memory(find_field(student.field).make, student_options(student, shape));
}

}  // namespace

double ModelLayout::reduced_bytes() const {
  return std::accumulate(bucket_bytes.begin(), bucket_bytes.end(), 0.0);
}

ModelLayout layout_of(const StageNode& node, const CostModel& model, bool on_gpu, std::int64_t groups) {
  const std::shared_ptr<torch::nn::Module> module = module_of(node, model);
  if (module == nullptr) return {};
  ModelLayout layout;
  for (const auto& [name, tensor] : named_tensors(*module)) {
    ++layout.tensors;
    layout.bytes += static_cast<double>(tensor.nbytes());
  }
  for (const at::Tensor& parameter : module->parameters())
    if (parameter.requires_grad()) layout.trained_bytes += static_cast<double>(parameter.nbytes());
  const WithoutMemory guard;
  const FlatParameters parameters(*module, {bucket_bytes(model.config.pipeline.bucket_size, on_gpu), groups});
  for (const Bucket& bucket : parameters.buckets())
    layout.bucket_bytes.push_back(static_cast<double>(bucket.gradients.nbytes()));
  return layout;
}

}  // namespace couplet
