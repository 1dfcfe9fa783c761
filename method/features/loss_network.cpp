#include "method/features/loss_network.h"

#include "method/features/feature_network.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/torch_script.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <memory>
#include <utility>

namespace couplet {
namespace {

using Levels = std::vector<at::Tensor>;

constexpr double least_square = 1e-6;  ///< of a place's features: where there are hardly any, none are told apart

at::Tensor of_length_one(const at::Tensor& level) {
  const at::Tensor values = level.to(at::kFloat);
  return values * (values.square().sum(1, /*keepdim=*/true) + least_square).rsqrt();
}

/// The distance by the levels that a network makes of images. They are computed in single precision, and without
/// gradients of the images that are aimed at.
template <class LevelsOf>
at::Tensor distance_by(const LevelsOf& levels_of, const at::Tensor& made, const at::Tensor& images) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const Levels wanted = [&] {
    const at::NoGradGuard no_grad;
    return levels_of(images);
  }();
  return feature_distance(levels_of(made), wanted);
}

/// A program as the user brings it.
class LevelsProgram {
public:
  LevelsProgram(const LossProgram& program, c10::Device device)
      : path_(program.path.string()), range_(program.range), program_(load_script(program.path, {"forward"}, device)) {
    for (const at::Tensor& weight : program_.parameters()) weight.requires_grad_(false);
  }

  /// Finds out how images of this shape have to be given, and that its output can be learnt by.
  void probe(const std::vector<std::int64_t>& shape, c10::Device device) {
    std::vector<std::int64_t> sizes = shape;
    sizes.insert(sizes.begin(), 2);
    const at::AutoGradMode with_gradients(true);
    const at::Tensor grey = at::zeros(sizes, at::TensorOptions(device)).requires_grad_(true);
    const Levels levels = tried(grey);
    for (const at::Tensor& level : levels)
      if (level.dim() < 2 || level.size(0) != 2 || !level.is_floating_point())
        refuse(
            "{}: returns {} [{}] for 2 images; expected features of each image in floating point: [2, channels, ...]",
            path_, at::toString(level.scalar_type()), fmt::join(level.sizes(), ", "));
    if (levels.empty()) refuse("{}: returns no tensor; expected features, one tensor a level", path_);
    for (const at::Tensor& level : levels)
      if (!level.requires_grad())
        refuse("{}: no gradient flows from its output back to the images, so that nothing can be learnt by it", path_);
  }

  Levels levels(const at::Tensor& images) {
    // Unoptimised: the optimiser learns from the first calls, whose digits would differ from later ones'.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    const at::Tensor values = range_ == "unit" ? (images + 1) / 2 : range_ == "bytes" ? (images + 1) * 127.5 : images;
    return tensors_of(program_.forward({rgb_ ? as_rgb(values) : values}));
  }

  std::set<std::string> weights() const { return weight_hashes(script_weights(program_)); }

private:
  Levels tried(const at::Tensor& images) {
    std::string reason;
    for (const bool rgb : {false, true}) {
      if (rgb && images.size(1) != 1) break;
      rgb_ = rgb;
      try {
        Levels made = levels(images);
        if (rgb) say("{}: grey images are given to it as RGB, the channel three times", path_);
        return made;
      } catch (const Error&) {
        throw;
      } catch (const std::exception& error) {
        if (reason.empty()) reason = script_error(error);
      }
    }
    refuse("{}: does not take float32 images of {}{}: {}", path_, fmt::join(images.sizes().slice(1), "x"),
           rgb_ ? ", nor as RGB" : "", reason);
  }

  Levels tensors_of(const c10::IValue& value) const {
    Levels all;
    const auto add = [&](const c10::IValue& element) {
      if (element.isTensor()) all.push_back(element.toTensor());
    };
    if (value.isTuple())
      for (const c10::IValue& element : value.toTupleRef().elements()) add(element);
    else if (value.isTensorList())
      all = value.toTensorVector();
    else if (value.isGenericDict())
      for (const auto& entry : value.toGenericDict()) add(entry.value());
    else
      add(value);
    return all;
  }

  std::string path_, range_;
  torch::jit::Module program_;
  bool rgb_ = false;
};

}  // namespace

at::Tensor feature_distance(const std::vector<at::Tensor>& made, const std::vector<at::Tensor>& images) {
  at::Tensor sum;
  for (std::size_t level = 0; level < made.size(); ++level) {
    const at::Tensor places = (of_length_one(made[level]) - of_length_one(images[level])).square().sum(1);
    const at::Tensor mean = places.reshape({places.size(0), -1}).mean(1);
    sum = sum.defined() ? sum + mean : mean;
  }
  return sum / static_cast<double>(made.size());
}

LossNetwork make_loss_network(Classifier classifier, const std::string& name) {
  classifier->eval();
  for (const at::Tensor& weight : classifier->parameters()) weight.requires_grad_(false);
  const NamedTensors named = named_tensors(*classifier);
  return {.name = name,
          .hash = tensors_hash(named),
          .weights = weight_hashes(classifier->parameters()),
          .distance = [classifier](const at::Tensor& made, const at::Tensor& images) {
            const auto levels = [&](const at::Tensor& of) { return Classifier(classifier)->levels(of); };
            return distance_by(levels, made, images);
          }};
}

LossNetwork make_loss_network(const LossProgram& program, const std::vector<std::int64_t>& shape, c10::Device device) {
  const auto network = std::make_shared<LevelsProgram>(program, device);
  network->probe(shape, device);
  return {.name = utf8_text(program.path.filename().string()),
          .hash = hash_file(program.path),
          .weights = network->weights(),
          .distance = [network](const at::Tensor& made, const at::Tensor& images) {
            return distance_by([&](const at::Tensor& of) { return network->levels(of); }, made, images);
          }};
}

}  // namespace couplet
