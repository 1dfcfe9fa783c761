#include "pipeline/tensor/flops.h"

#include <fmt/format.h>

#include <array>

namespace couplet {

double product_flops(std::int64_t rows, std::int64_t inner, std::int64_t columns) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(inner) * static_cast<double>(columns);
}

double transformer_layer_flops(std::int64_t tokens, std::int64_t channels, std::int64_t hidden) {
  const double projections = product_flops(tokens, channels, 4 * channels);  // query, key, value; output
  const double scores_and_mixing = 2 * product_flops(tokens, channels, tokens);
  return projections + scores_and_mixing + 2 * product_flops(tokens, channels, hidden);
}

std::string flops_text(double flops) {
  constexpr std::array units = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP", "YFLOP"};
  std::size_t unit = 0;
  for (; flops >= 999.5 && unit + 1 < units.size(); ++unit) flops /= 1000;
  return fmt::format("{:.{}f} {}", flops, flops < 9.995 && unit > 0 ? 2 : 0, units[unit]);
}

std::string TrainingFlops::rate_text(double images_a_second) const {
  const double rate = per_image * images_a_second;
  const std::string share =
      matmul_peak > 0 ? fmt::format(" ({:.0f} % of the matmul peak)", 100 * rate / matmul_peak) : "";
  return flops_text(rate) + "/s" + share;
}

}  // namespace couplet
