#include "method/models/codec_program.h"

#include "pipeline/tensor/weights.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// "encoder_input.weight" → "encoder_input_weight": an attribute of a program has no dot in its name.
std::string attribute_name(std::string parameter) {
  std::ranges::replace(parameter, '.', '_');
  return parameter;
}

/// Lines of a method's body that turn `x` into what these steps make of it.
std::string program_of(const std::vector<AutoencoderStep>& steps) {
  std::string text;
  const auto line = [&text](const std::string& statement) { text += "    " + statement + "\n"; };
  for (const AutoencoderStep& step : steps) {
    if (step.begins_block) line("kept = x");
    if (step.enlarged) line("x = torch.upsample_nearest2d(x, [2 * x.size(2), 2 * x.size(3)])");
    if (step.normed)
      line(fmt::format("x = torch.silu(torch.group_norm(x, {0}, self.{1}_norm_weight, self.{1}_norm_bias, {2}))",
                       autoencoder_norm_groups, step.name, autoencoder_norm_eps));
    line(
        fmt::format("x = torch.conv2d(x, self.{0}_weight, self.{0}_bias, [{1}, {1}], [1, 1])", step.name, step.stride));
    if (step.ends_block) line("x = x + kept");
  }
  return text;
}

/// What encode returns of the encoder's `x`: means and deviations.
std::string encode_result(const AutoencoderOptions& o) {
  if (o.plain) return "torch.cat([x, torch.zeros_like(x)], 1)";
  const std::string deviation = fmt::format("torch.exp(0.5 * torch.clamp(x.narrow(1, {0}, {0}), {1:.1f}, {2:.1f}))",
                                            o.latent_channels, least_log_variance, largest_log_variance);
  return fmt::format("torch.cat([x.narrow(1, 0, {}), {}], 1)", o.latent_channels, deviation);
}

std::string codec_program(const AutoencoderOptions& o) {
  return "def encode(self, x):\n" + program_of(encoder_steps(o)) + "    return " + encode_result(o) + "\n\n" +
         "def decode(self, x):\n" + program_of(decoder_steps(o)) + "    return x\n";
}

}  // namespace

void publish_codec(const AutoencoderImpl& model, const std::filesystem::path& path) {
  torch::jit::Module program("__torch__.Codec");
  for (const auto& [name, tensor] : named_tensors(model)) {
    // A clone of its own: what shares memory with other tensors would be saved with all of them.
    const at::Tensor copy = tensor.detach().to(at::kCPU).contiguous().clone();
    program.register_parameter(attribute_name(name), copy, /*is_buffer=*/false);
  }
  // What Python's eval() sets.
  program.register_attribute("training", c10::BoolType::get(), false);
  program.define(codec_program(model.options()));
  std::ostringstream bytes;
  program.save(bytes);
  publish_file(path, bytes.str());
}

}  // namespace couplet
