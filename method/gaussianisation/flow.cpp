// A second TarFlow, trained on the noise of the first.
#include "method/gaussianisation/gaussian_map.h"
#include "method/models/patches.h"

#include <ATen/ATen.h>

#include <utility>

namespace couplet {
namespace {

class FlowMap : public GaussianMap {
public:
  explicit FlowMap(TarFlow flow) : flow_(std::move(flow)) {}

  MappedNoise operator()(const at::Tensor& z, const at::Tensor& labels) const override {
    const TarFlowOptions& options = flow_->options();
    const TarFlowOutput out = flow_->forward(z.to(at::kFloat), labels);
    return {unpatchify(out.z.to(at::kDouble), options.in_channels, options.image_size, options.patch),
            out.logdet.to(at::kDouble) * static_cast<double>(options.tokens() * options.token_size())};
  }

private:
  mutable TarFlow flow_;  ///< whose `forward` changes nothing
};

}  // namespace

GaussianMapKind flow_map() {
  return {.name = "flow",
          .help = "a second TarFlow ([gaussianiser]), trained by maximum likelihood on the noise, forward only",
          .check = [](const GaussianMapOptions& options) { check(options.flow); },
          .make = [](const NamedTensors& state, const GaussianMapOptions& options,
                     c10::Device device) -> std::shared_ptr<const GaussianMap> {
            TarFlow flow = make_tarflow(options.flow, 0);
            load_tensors(*flow, state, "the weights of the gaussianiser");
            flow->to(device);
            flow->eval();
            return std::make_shared<FlowMap>(std::move(flow));
          }};
}

}  // namespace couplet
