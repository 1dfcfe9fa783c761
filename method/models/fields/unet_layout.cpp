#include "method/models/fields/unet_layout.h"

#include "method/models/span_embedding.h"
#include "pipeline/tensor/flops.h"
#include "storage/error.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t pixels_of_a_kernel = 9;  // 3 x 3

using Kind = UNetPart::Kind;

UNetPart convolution_part(std::int64_t in, std::int64_t out, std::int64_t side) {
  return {Kind::convolution, in, out, side, Resampling::none};
}
UNetPart residual_part(std::int64_t in, std::int64_t out, std::int64_t side) {
  return {Kind::residual, in, out, side, Resampling::none};
}
UNetPart attention_part(std::int64_t channels, std::int64_t side) {
  return {Kind::attention, channels, channels, side, Resampling::none};
}
UNetPart resampling_part(const UNetOptions& o, std::int64_t channels, std::int64_t side, Resampling resampling) {
  return {o.residual_resampling ? Kind::residual : Kind::resampling, channels, channels, side, resampling};
}

std::int64_t kernel_parameters(std::int64_t in, std::int64_t out) {
  return pixels_of_a_kernel * in * out + out;
}
std::int64_t matrix_parameters(std::int64_t in, std::int64_t out) {
  return in * out + out;
}

std::int64_t parameters_of(const UNetOptions& o, const UNetPart& part) {
  const std::int64_t in = part.in, out = part.out;
  switch (part.kind) {
    case Kind::convolution:
      return kernel_parameters(in, out);
    case Kind::attention:
      return 2 * in + matrix_parameters(in, 3 * in) + matrix_parameters(in, in);
    case Kind::resampling:
      return o.conv_resample ? kernel_parameters(in, out) : 0;
    case Kind::residual:
      break;
  }
  const std::int64_t skip = in == out ? 0 : matrix_parameters(in, out);
  return 2 * in + kernel_parameters(in, out) + matrix_parameters(embedding_channels(o), (o.scale_shift ? 2 : 1) * out) +
         2 * out + kernel_parameters(out, out) + skip;
}

double kernel_flops(std::int64_t side, std::int64_t in, std::int64_t out) {
  return product_flops(side * side, pixels_of_a_kernel * in, out);
}

double flops_of_part(const UNetOptions& o, const UNetPart& part) {
  const std::int64_t in = part.in, out = part.out, side = part.side_out(), tokens = side * side;
  switch (part.kind) {
    case Kind::convolution:
      return kernel_flops(side, in, out);
    case Kind::attention:
      return product_flops(tokens, in, 4 * in) + 2 * product_flops(tokens, in, tokens);
    case Kind::resampling:
      return o.conv_resample ? kernel_flops(side, in, out) : 0;
    case Kind::residual:
      break;
  }
  const double skip = in == out ? 0 : product_flops(tokens, in, out);
  return kernel_flops(side, in, out) + product_flops(1, embedding_channels(o), (o.scale_shift ? 2 : 1) * out) +
         kernel_flops(side, out, out) + skip;
}

/// What a part keeps besides its input.
std::int64_t kept_by(const UNetPart& part) {
  const std::int64_t before = part.in * part.side * part.side, after = part.out * part.side_out() * part.side_out();
  switch (part.kind) {
    case Kind::convolution:
      return 0;
    case Kind::attention:
      return 7 * before;  // normed; queries, keys and values, twice laid out otherwise; mixed
    case Kind::resampling:
      return part.resampling == Resampling::up ? after : 0;
    case Kind::residual:
      break;
  }
  // Behind norm and SiLU, resampled; then behind the convolution, and behind norm and SiLU. Convolutions keep their
  // inputs, and so do norms.
  const std::int64_t resampled = part.resampling == Resampling::none ? 0 : part.in * part.side_out() * part.side_out();
  return before + resampled + 2 * after;
}

bool is_power_of_two(std::int64_t number) {
  return number > 0 && (number & (number - 1)) == 0;
}

}  // namespace

std::int64_t embedding_channels(const UNetOptions& o) {
  return 4 * o.channels;
}

std::vector<UNetPart> UNetLayout::parts() const {
  std::vector<UNetPart> all;
  for (const UNetEntry& entry : input) all.insert(all.end(), entry.begin(), entry.end());
  all.insert(all.end(), middle.begin(), middle.end());
  for (const UNetEntry& entry : output) all.insert(all.end(), entry.begin(), entry.end());
  return all;
}

UNetLayout layout_of(const UNetOptions& o) {
  UNetLayout layout;
  const auto has_attention = [&](std::int64_t side) {
    return std::ranges::find(o.attention, o.image_size / side) != o.attention.end();
  };
  std::int64_t side = o.image_size, channels = o.channels * o.multipliers.front();
  std::vector<std::int64_t> kept;
  const auto add_input = [&](UNetEntry entry) {
    kept.push_back(entry.back().out);
    layout.input.push_back(std::move(entry));
  };
  add_input({convolution_part(o.in_channels + o.condition_channels, channels, side)});
  for (std::size_t level = 0; level < o.multipliers.size(); ++level) {
    for (std::int64_t block = 0; block < o.blocks; ++block) {
      const std::int64_t out = o.channels * o.multipliers[level];
      UNetEntry entry{residual_part(channels, out, side)};
      if (has_attention(side)) entry.push_back(attention_part(out, side));
      channels = out;
      add_input(std::move(entry));
    }
    if (level + 1 == o.multipliers.size()) break;
    add_input({resampling_part(o, channels, side, Resampling::down)});
    side /= 2;
  }
  layout.middle = {residual_part(channels, channels, side), attention_part(channels, side),
                   residual_part(channels, channels, side)};
  for (std::size_t level = o.multipliers.size(); level-- > 0;) {
    for (std::int64_t block = 0; block <= o.blocks; ++block) {
      const std::int64_t out = o.channels * o.multipliers[level];
      UNetEntry entry{residual_part(channels + kept.back(), out, side)};
      kept.pop_back();
      channels = out;
      if (has_attention(side)) entry.push_back(attention_part(channels, side));
      if (level > 0 && block == o.blocks) {
        entry.push_back(resampling_part(o, channels, side, Resampling::up));
        side *= 2;
      }
      layout.output.push_back(std::move(entry));
    }
  }
  layout.channels = channels;
  return layout;
}

std::int64_t parameter_count(const UNetOptions& o) {
  const UNetLayout layout = layout_of(o);
  const std::int64_t embedding = embedding_channels(o);
  const std::int64_t labels = o.num_classes > 0 ? (o.num_classes + 1) * embedding : 0;
  std::int64_t count = matrix_parameters(o.channels, embedding) + matrix_parameters(embedding, embedding) + labels +
                       2 * layout.channels + kernel_parameters(layout.channels, o.out_channels) +
                       (o.spans ? span_parameters(o.channels, embedding) : 0);
  for (const UNetPart& part : layout.parts()) count += parameters_of(o, part);
  return count;
}

double forward_flops(const UNetOptions& o) {
  const UNetLayout layout = layout_of(o);
  const std::int64_t embedding = embedding_channels(o);
  double flops = product_flops(1, o.channels, embedding) + product_flops(1, embedding, embedding) +
                 kernel_flops(o.image_size, layout.channels, o.out_channels) +
                 (o.spans ? span_flops(o.channels, embedding) : 0);
  for (const UNetPart& part : layout.parts()) flops += flops_of_part(o, part);
  return flops;
}

std::int64_t activation_values(const UNetOptions& o) {
  const UNetLayout layout = layout_of(o);
  std::int64_t inputs = 0, kept = 0, most = 0;
  for (const UNetPart& part : layout.parts()) {
    inputs += part.in * part.side * part.side;
    kept += kept_by(part);
    most = std::max(most, kept_by(part));
  }
  const std::int64_t out = 2 * layout.channels * o.image_size * o.image_size;  // the last input; behind norm and SiLU
  return inputs + (o.recompute ? most : kept) + out;
}

void check(const UNetOptions& o, const std::string& section) {
  const auto levels = static_cast<std::int64_t>(o.multipliers.size());
  if (levels < 1)
    refuse("{}.multipliers is empty: it has a number for each level of the U-Net, such as 1 2 2", section);
  for (const std::int64_t multiplier : o.multipliers) {
    if (multiplier < 1) refuse("{}.multipliers = {}: each must be at least 1", section, fmt::join(o.multipliers, " "));
    if (o.channels * multiplier % unet_norm_groups != 0)
      refuse(
          "{0}.channels = {1} times {2} of {0}.multipliers is {3}, no multiple of the {4} groups of a U-Net's norms; "
          "the "
          "nearest valid: {5} channels",
          section, o.channels, multiplier, o.channels * multiplier, unet_norm_groups,
          nearest_multiples(o.channels, unet_norm_groups));
    const std::int64_t width = o.channels * multiplier;
    const auto& [key, heads] = o.head_channels > 0 ? std::pair{"head-channels", o.head_channels}
                                                   : std::pair{"heads", std::max<std::int64_t>(o.heads, 1)};
    if (width % heads != 0)
      refuse("{0}.{1} = {2} does not divide the {3} channels of a level ({0}.channels times one of {0}.multipliers)",
             section, key, heads, width);
  }
  if (o.blocks < 1) refuse("{}.blocks = {}: must be at least 1", section, o.blocks);
  const std::int64_t deepest = std::int64_t{1} << (levels - 1);
  for (const std::int64_t factor : o.attention)
    if (!is_power_of_two(factor) || factor > deepest)
      refuse(
          "{0}.attention = {1}: no level has the downsampling factor {1}; {2} levels ({0}.multipliers) have factors 1, "
          "2, 4 … up to {3}. guided-diffusion's command line has image sizes here: factor = size of the images / that "
          "size",
          section, factor, levels, deepest);
  if (o.image_size % deepest == 0) return;
  std::int64_t fitting = levels;
  while (o.image_size % (std::int64_t{1} << (fitting - 1)) != 0) --fitting;
  refuse(
      "{0}.multipliers = {1}: images of {2} x {2} cannot be halved {3} times, as {4} levels do; pad them to {5} or use "
      "{6} level{7}",
      section, fmt::join(o.multipliers, " "), o.image_size, levels - 1, levels,
      (o.image_size + deepest - 1) / deepest * deepest, fitting, fitting == 1 ? "" : "s");
}

}  // namespace couplet
