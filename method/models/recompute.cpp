#include "method/models/recompute.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstddef>

namespace couplet {
namespace {

using torch::autograd::variable_list;

/// Autocast as it is set for a device's type.
struct AutocastSetting {
  at::DeviceType device;
  bool enabled;
  at::ScalarType type;

  static AutocastSetting now(at::DeviceType device) {
    return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
  }
  void set() const {
    at::autocast::set_autocast_enabled(device, enabled);
    at::autocast::set_autocast_dtype(device, type);
  }
};

/// Autocast as it was, for a scope; without its cache of cast weights, which does not tell a cast that records
/// gradients from one that does not.
class AutocastScope {
public:
  explicit AutocastScope(const AutocastSetting& setting) : before_(AutocastSetting::now(setting.device)) {
    setting.set();
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~AutocastScope() {
    before_.set();
    at::autocast::set_autocast_cache_enabled(cached_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

private:
  AutocastSetting before_;
  bool cached_ = at::autocast::is_autocast_cache_enabled();
};

/// What the backward pass calls again.
struct Work : torch::CustomClassHolder {
  std::function<at::Tensor(const variable_list&)> call;
  AutocastSetting autocast;
  std::size_t inputs;        ///< the tensors of the segment: so many inputs, then
  variable_list parameters;  ///< these
};

constexpr char work_key[] = "work";

class Segment : public torch::autograd::Function<Segment> {
public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const c10::intrusive_ptr<Work>& work,
                            at::TensorList tensors) {
    const variable_list inputs(tensors.begin(), tensors.begin() + static_cast<std::ptrdiff_t>(work->inputs));
    context->save_for_backward(inputs);
    context->saved_data[work_key] = c10::IValue::make_capsule(work);
    const AutocastScope scope(work->autocast);
    return work->call(inputs);
  }

  static variable_list backward(torch::autograd::AutogradContext* context, variable_list gradients) {
    const auto work = c10::static_intrusive_pointer_cast<Work>(context->saved_data[work_key].toCapsule());
    // Where gradients of these gradients are wanted, the inputs keep their history; each behind a view of its own, so
    // that what one of them owes to another is not counted here.
    const bool twice = at::GradMode::is_enabled();
    variable_list inputs;
    for (const auto& saved : context->get_saved_variables())
      inputs.push_back(twice && saved.requires_grad() ? saved.alias()
                                                      : saved.detach().set_requires_grad(saved.requires_grad()));
    variable_list tensors = inputs;
    tensors.insert(tensors.end(), work->parameters.begin(), work->parameters.end());

    // One place for each argument of `forward`: the work, then the tensors, which alone may need gradients.
    variable_list results(1 + tensors.size());
    variable_list wanted;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if (!tensors[i].requires_grad() || !context->needs_input_grad(i)) continue;
      wanted.push_back(tensors[i]);
      places.push_back(1 + i);
    }
    at::Tensor output;
    {
      const at::AutoGradMode with_grad(true);
      const AutocastScope scope(work->autocast);
      output = work->call(inputs);
    }
    const auto found = torch::autograd::grad({output}, wanted, gradients, /*retain_graph=*/twice,
                                             /*create_graph=*/twice, /*allow_unused=*/true);
    for (std::size_t i = 0; i < found.size(); ++i) results[places[i]] = found[i];
    return results;
  }
};

}  // namespace

at::Tensor recomputed(const std::function<at::Tensor(const variable_list&)>& work, const variable_list& inputs,
                      const variable_list& parameters) {
  if (!at::GradMode::is_enabled()) return work(inputs);
  auto kept = c10::make_intrusive<Work>();
  kept->call = work;
  kept->autocast = AutocastSetting::now(inputs.front().device().type());
  kept->inputs = inputs.size();
  kept->parameters = parameters;
  variable_list tensors = inputs;
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  return Segment::apply(kept, at::TensorList(tensors));
}

}  // namespace couplet
