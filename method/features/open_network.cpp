#include "method/features/open_network.h"

#include "method/data/images.h"
#include "method/features/inception.h"
#include "method/features/script_network.h"
#include "pipeline/tensor/weights.h"
#include "storage/error.h"
#include "storage/formats/state_dict.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t classifier_batch = 25;

class ClassifierNetwork : public FeatureNetwork {
public:
  ClassifierNetwork(Classifier classifier, const std::string& name, c10::Device device)
      : classifier_(std::move(classifier)),
        name_(name),
        hash_(tensors_hash(named_tensors(*classifier_))),
        device_(device) {
    classifier_->eval();
  }

  ImageFeatures describe(const at::Tensor& images) override {
    const ClassifierOptions& o = classifier_->options();
    if (images.dim() != 4 || images.size(1) != o.in_channels || images.size(2) != o.image_size ||
        images.size(3) != o.image_size) {
      refuse("{}: made for images of {}x{}x{}, given {}", name_, o.in_channels, o.image_size, o.image_size,
             fmt::join(images.sizes().slice(1), "x"));
    }
    return describe_in_batches(images, classifier_batch, device_, [&](const at::Tensor& batch) {
      const at::Tensor features = classifier_->features(to_float(batch.to(device_)));
      return ImageFeatures{features, classifier_->logits(features), {}};
    });
  }
  const std::string& name() const override { return name_; }
  const std::string& hash() const override { return hash_; }
  std::set<std::string> weights() const override { return weight_hashes(classifier_->parameters()); }
  const std::string& resize() const override { return resize_; }

private:
  Classifier classifier_;
  std::string name_, hash_, resize_ = "none";
  c10::Device device_;
};

}  // namespace

std::unique_ptr<FeatureNetwork> make_feature_network(Classifier classifier, const std::string& name,
                                                     c10::Device device) {
  return std::make_unique<ClassifierNetwork>(std::move(classifier), name, device);
}

std::unique_ptr<FeatureNetwork> make_feature_network(const NetworkFile& file, c10::Device device) {
  if (!std::filesystem::is_regular_file(file.path))
    refuse("{}: there is no such file of a network", file.path.string());
  const TorchFile kind = torch_file(file.path);
  if (kind == TorchFile::other_archive) return make_script_network(file, device);
  if (kind == TorchFile::none && file.path.extension() != ".safetensors")
    refuse(
        "{}: is neither a TorchScript program (torch.jit.save) nor weights of the FID Inception network (safetensors, "
        "or "
        "a state dict by torch.save)",
        file.path.string());
  if (!file.arguments.empty())
    refuse("{}: the Inception network takes no arguments; given {}", file.path.string(),
           fmt::join(file.arguments, " "));
  return make_inception_network(file.path, device);
}

}  // namespace couplet
