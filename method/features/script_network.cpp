#include "method/features/script_network.h"

#include "pipeline/process/log.h"
#include "pipeline/tensor/torch_script.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/text.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t script_batch_rows = 25;
constexpr double probability_tolerance = 1e-3;   ///< of a row's sum, at half precision
constexpr double independence_tolerance = 1e-3;  ///< relative: sizes of a batch may change the last digits

template <class Number>
std::optional<Number> parse_number(const std::string& text) {
  Number number{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

/// A value as Python writes it, for a parameter of that type: True, False, None, 3, 0.5; anything else is text.
c10::IValue parse_value(const std::string& text, const c10::Type& type) {
  if (type.kind() == c10::TypeKind::StringType) return text;
  if (text == "True" || text == "False") return text == "True";
  if (text == "None") return {};
  const auto integer = parse_number<std::int64_t>(text);
  if (integer && type.kind() != c10::TypeKind::FloatType) return *integer;
  if (const auto number = parse_number<double>(text)) return *number;
  return text;
}

/// What `forward` is given besides the images.
struct Arguments {
  std::vector<c10::IValue> positional;
  torch::jit::Kwargs named;
};

Arguments parse_arguments(const NetworkFile& file, const c10::FunctionSchema& schema) {
  // Behind the module itself and the images.
  const std::vector<c10::Argument>& all = schema.arguments();
  const std::vector<c10::Argument> parameters(all.begin() + std::min<std::ptrdiff_t>(2, std::ssize(all)), all.end());
  std::vector<std::string> names;
  for (const c10::Argument& parameter : parameters) names.push_back(parameter.name());
  Arguments arguments;
  for (const std::string& text : file.arguments) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      const std::size_t index = arguments.positional.size();
      if (index >= parameters.size())
        refuse("{}: {} arguments besides the images are too many; its parameters: {}", file.path.string(), index + 1,
               fmt::join(names, ", "));
      arguments.positional.push_back(parse_value(text, *parameters[index].type()));
      continue;
    }
    const std::string name = text.substr(0, equals);
    const auto found = std::ranges::find(names, name);
    if (found == names.end())
      refuse("{}: has no parameter {} (of {}); its parameters besides the images: {}", file.path.string(), name, text,
             fmt::join(names, ", "));
    const c10::Argument& parameter = parameters[static_cast<std::size_t>(found - names.begin())];
    arguments.named.insert_or_assign(name, parse_value(text.substr(equals + 1), *parameter.type()));
  }
  return arguments;
}

/// A dict's tensor of one of these names; undefined where it has none.
at::Tensor entry_of(const c10::Dict<c10::IValue, c10::IValue>& dict, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const auto found = dict.find(name);
    if (found != dict.end() && found->value().isTensor()) return found->value().toTensor();
  }
  return {};
}

ImageFeatures of_dict(const std::string& who, const c10::Dict<c10::IValue, c10::IValue>& dict) {
  ImageFeatures out{entry_of(dict, {"features", "x_norm_clstoken"}), entry_of(dict, {"logits"}),
                    entry_of(dict, {"spatial"})};
  if (out.features.defined()) return out;
  std::vector<std::string> keys;
  for (const auto& entry : dict) keys.push_back(entry.key().isString() ? entry.key().toStringRef() : "?");
  refuse("{}: returns a dict of {}; expected features (and logits, spatial)", who, fmt::join(keys, ", "));
}

ImageFeatures of_value(const std::string& who, const c10::IValue& value) {
  if (value.isTensor()) return {value.toTensor(), {}, {}};
  if (value.isTensorList() && value.toTensorVector().size() > 0) return {value.toTensorVector().front(), {}, {}};
  if (value.isTuple()) {
    for (const c10::IValue& element : value.toTupleRef().elements())
      if (element.isTensor()) return {element.toTensor(), {}, {}};
  }
  if (value.isGenericDict()) return of_dict(who, value.toGenericDict());
  refuse("{}: returns {}; expected a tensor of features [n, dimension], a tuple that begins with it, or a dict", who,
         value.tagKind());
}

bool is_probability(const at::Tensor& rows) {
  return rows.size(1) > 1 && rows.ge(0).all().item<bool>() &&
         (rows.sum(1) - 1).abs().max().item<double>() < probability_tolerance;
}

/// The output in the form of our features; another form is refused.
ImageFeatures checked(const std::string& who, ImageFeatures out, std::int64_t rows) {
  if (out.features.dim() == 4 && out.features.size(2) == 1 && out.features.size(3) == 1)
    out.features = out.features.flatten(1);
  if (out.features.dim() != 2 || out.features.size(0) != rows || !out.features.is_floating_point())
    refuse(
        "{}: returns {} [{}] for {} images; expected features, one row of floating-point numbers an image: [{}, "
        "dimension]",
        who, at::toString(out.features.scalar_type()), fmt::join(out.features.sizes(), ", "), rows, rows);
  if (is_probability(out.features))
    refuse(
        "{}: returns probabilities (rows without negative values that sum to 1), which are no features; ask it for "
        "features with evaluate.network-args (return_features=True for inception-2015-12-05.pt)",
        who);
  for (const at::Tensor* more : {&out.logits, &out.spatial}) {
    if (more->defined() && (more->dim() < 2 || more->size(0) != rows))
      refuse("{}: returns logits or spatial features [{}] for {} images; expected one row an image", who,
             fmt::join(more->sizes(), ", "), rows);
  }
  if (out.logits.defined()) out.logits = out.logits.flatten(1);
  if (out.spatial.defined()) out.spatial = out.spatial.flatten(1);
  return out;
}

class ScriptNetwork : public FeatureNetwork {
public:
  ScriptNetwork(const NetworkFile& file, c10::Device device)
      : program_(load_script(file.path, {"forward"}, device)),
        arguments_(parse_arguments(file, program_.get_method("forward").function().getSchema())),
        name_(utf8_text(file.path.filename().string())),
        hash_(hash_file(file.path)),
        device_(device) {
    if (file.arguments.empty()) return;
    name_ += fmt::format("({})", fmt::join(file.arguments, ", "));
    hash_ = hash_text(fmt::format("{} {}", hash_, fmt::join(file.arguments, " ")));
  }

  ImageFeatures describe(const at::Tensor& images) override {
    if (images.dim() == 4 && images.size(0) > 0 && images.sizes().slice(1) != at::IntArrayRef(known_)) probe(images);
    return describe_in_batches(images, script_batch_rows, device_, [&](const at::Tensor& batch) { return run(batch); });
  }
  const std::string& name() const override { return name_; }
  const std::string& hash() const override { return hash_; }
  std::set<std::string> weights() const override { return weight_hashes(script_weights(program_)); }
  const std::string& resize() const override { return resize_; }

private:
  ImageFeatures run(const at::Tensor& images) {
    // Unoptimised: the optimiser learns from the first calls, whose digits would differ from later ones'.
    const torch::jit::GraphOptimizerEnabledGuard as_written(false);
    std::vector<c10::IValue> values{(rgb_ ? as_rgb(images) : images).to(device_)};
    values.insert(values.end(), arguments_.positional.begin(), arguments_.positional.end());
    return checked(name_, of_value(name_, program_.forward(std::move(values), arguments_.named)), images.size(0));
  }

  /// Finds out how images of this shape have to be given, and that a row's features are its own.
  void probe(const at::Tensor& images) {
    const at::Tensor first = images.narrow(0, 0, 1);
    const at::Tensor pair = at::cat({first, 255 - first}), twice = at::cat({first, first});
    const auto row = [&](const at::Tensor& rows) {
      return describe_in_batches(rows, 2, device_, [&](const at::Tensor& batch) { return run(batch); }).features[0];
    };
    at::Tensor alone;
    rgb_ = false;
    try {
      alone = row(pair);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      alone = row_as_rgb(pair, row, script_error(error));
    }
    const double change = (alone - row(twice)).norm().item<double>(), size = alone.norm().item<double>();
    if (change > independence_tolerance * size)
      refuse("{}: an image's features depend on the other images of its batch (they change by {:.2g} of {:.2g})", name_,
             change, size);
    known_ = images.sizes().slice(1).vec();
  }

  /// The second try, for grey images.
  template <class Row>
  at::Tensor row_as_rgb(const at::Tensor& images, const Row& row, const std::string& reason) {
    const std::string shape = fmt::format("{}", fmt::join(images.sizes().slice(1), "x"));
    if (images.size(1) != 1) refuse("{}: does not take images of {}: {}", name_, shape, reason);
    rgb_ = true;
    try {
      at::Tensor made = row(images);
      say("{}: grey images are given to it as RGB, the channel three times", name_);
      return made;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      refuse("{}: does not take images of {}, nor as RGB: {}", name_, shape, script_error(error));
    }
  }

  torch::jit::Module program_;
  Arguments arguments_;
  std::string name_, hash_, resize_ = "inside the network";
  c10::Device device_;
  bool rgb_ = false;
  std::vector<std::int64_t> known_;  ///< shape of the images that were probed
};

}  // namespace

std::unique_ptr<FeatureNetwork> make_script_network(const NetworkFile& file, c10::Device device) {
  return std::make_unique<ScriptNetwork>(file, device);
}

}  // namespace couplet
