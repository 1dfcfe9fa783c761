// What passes over values in memory are written with: each is compiled so that it computes several values at once.
#pragma once

#include "pipeline/tensor/bfloat16.h"

#include <bit>
#include <cmath>
#include <cstdint>

// Each pass is compiled for the wider registers too, and takes those that the processor has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define WIDE_WHERE_THERE [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define WIDE_WHERE_THERE
#endif
#define INLINED [[gnu::always_inline]] inline

namespace couplet {

INLINED float number(float x) {
  return x;
}
INLINED float number(Bfloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}
INLINED void store(float value, float& out) {
  out = value;
}
/// Rounds to the nearest, to even of two.
INLINED void store(float value, Bfloat16& out) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  constexpr std::uint32_t not_a_number = 0x7fc0;
  out = static_cast<Bfloat16>(static_cast<std::uint16_t>(std::isnan(value) ? not_a_number : rounded));
}

/// e^x to 2 units in the last place, in plain arithmetic that is done for many values at once: 2^n e^r, |r| <= ln 2 /
/// 2, and e^r by its series. Below -87 and above 87, that of -87 and of 87.
INLINED float exponential(float x) {
  constexpr float limit = 87.0f, log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float rounder = 12582912.0f;  // 1.5 · 2^23: what is added to it is rounded
  const float bounded = x < -limit ? -limit : (x > limit ? limit : x);
  const float shifted = bounded * log2_e + rounder;
  const float n = shifted - rounder;
  const float r = (bounded - n * ln2_high) - n * ln2_low;
  float sum = 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  constexpr std::uint32_t bias = 127, rounder_bits = std::bit_cast<std::uint32_t>(rounder);
  return sum * std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) - rounder_bits + bias) << 23);
}

}  // namespace couplet
