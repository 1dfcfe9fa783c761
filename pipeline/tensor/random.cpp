#include "pipeline/tensor/random.h"

#include "storage/error.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

// The counter of a block of four words is (index low, index high, purpose, number of the block); the key is the seed.
// Value k of an index is made of words of block k / 4 alone, so asking for more values changes none.
//
// log, sine and cosine are computed here, from additions, multiplications and divisions in a fixed order (the build
// forbids contracting them to fused operations): normal values are the same bits on every machine and with every libm,
// and the compiler can vectorise the loops.

namespace couplet {
namespace {

constexpr std::uint32_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;

/// Words of `lanes` consecutive blocks: word w of block b at [w][b]. Many blocks at once so that rounds vectorise.
template <std::size_t lanes>
struct Blocks {
  std::uint32_t words[4][lanes];
};

template <std::size_t lanes>
inline void philox_rounds(Blocks<lanes>& blocks, std::uint32_t key_0, std::uint32_t key_1) {
  auto& [x0, x1, x2, x3] = blocks.words;
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < lanes; ++i) {
      const std::uint64_t product_0 = std::uint64_t{multiplier_0} * x0[i];
      const std::uint64_t product_1 = std::uint64_t{multiplier_1} * x2[i];
      x0[i] = static_cast<std::uint32_t>(product_1 >> 32) ^ x1[i] ^ key_0;
      x1[i] = static_cast<std::uint32_t>(product_1);
      x2[i] = static_cast<std::uint32_t>(product_0 >> 32) ^ x3[i] ^ key_1;
      x3[i] = static_cast<std::uint32_t>(product_0);
    }
    key_0 += weyl_0;
    key_1 += weyl_1;
  }
}

template <std::size_t lanes>
inline void make_blocks(Blocks<lanes>& blocks, std::uint64_t seed, Purpose purpose, std::uint64_t index,
                        std::uint32_t first) {
  for (std::size_t i = 0; i < lanes; ++i) {
    blocks.words[0][i] = static_cast<std::uint32_t>(index);
    blocks.words[1][i] = static_cast<std::uint32_t>(index >> 32);
    blocks.words[2][i] = static_cast<std::uint32_t>(purpose);
    blocks.words[3][i] = first + static_cast<std::uint32_t>(i);
  }
  philox_rounds(blocks, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// Exact for values below 2^52: the value becomes the fraction of a number in [2^52, 2^53).
inline double to_double(std::uint64_t value) {
  return std::bit_cast<double>(value | 0x4330000000000000) - 0x1p52;
}

/// Natural logarithm of a normal, positive number, within 1 ulp (the method and coefficients of fdlibm's e_log.c).
inline double logarithm(double x) {
  constexpr std::uint64_t root_half = 0x3FE6A09E00000000;  // high bits of sqrt(1/2)
  const std::uint64_t shifted = std::bit_cast<std::uint64_t>(x) + (0x3FF0000000000000 - root_half);
  const double exponent = to_double(shifted >> 52) - 1023;
  const double f = std::bit_cast<double>((shifted & 0x000FFFFFFFFFFFFF) + root_half) - 1;
  const double s = f / (2 + f);
  const double z = s * s;
  double r = 1.479819860511658591e-01;
  r = r * z + 1.531383769920937332e-01;
  r = r * z + 1.818357216161805012e-01;
  r = r * z + 2.222219843214978396e-01;
  r = r * z + 2.857142874366239149e-01;
  r = r * z + 3.999999999940941908e-01;
  r = r * z + 6.666666666666735130e-01;
  const double half_square = 0.5 * f * f;
  return exponent * 6.93147180369123816490e-01 -
         ((half_square - (s * (half_square + r * z) + exponent * 1.90821492927058770002e-10)) - f);
}

struct Pair {
  double first, second;
};

/// cos and sin of `turn` / 2^32 turns (fdlibm's kernels on [-π/4, π/4]).
inline Pair cosine_sine(std::uint32_t turn) {
  const std::uint64_t eighth = std::uint64_t{turn} + 0x20000000;  // so that the angle left lies around 0
  const std::uint64_t quadrant = eighth >> 30;
  const double x = (to_double(eighth & 0x3FFFFFFF) - 0x1p29) * 1.4629180792671596e-09;  // 2π / 2^32
  const double z = x * x;
  double sine = 1.58969099521155010221e-10;
  sine = sine * z - 2.50507602534068634195e-08;
  sine = sine * z + 2.75573137070700676789e-06;
  sine = sine * z - 1.98412698298579493134e-04;
  sine = sine * z + 8.33333333332248946124e-03;
  sine = sine * z - 1.66666666666666324348e-01;
  sine = x + x * z * sine;
  double cosine = -1.13596475577881948265e-11;
  cosine = cosine * z + 2.08757232129817482790e-09;
  cosine = cosine * z - 2.75573143513906633035e-07;
  cosine = cosine * z + 2.48015872894767294178e-05;
  cosine = cosine * z - 1.38888888888741095749e-03;
  cosine = cosine * z + 4.16666666666666019037e-02;
  cosine = 1 - (0.5 * z - z * z * cosine);
  // A quarter turn swaps the two; the second bit of the quadrant, and for the cosine the first as well, gives the sign.
  const std::uint64_t swap = 0 - (quadrant & 1);
  const std::uint64_t c = std::bit_cast<std::uint64_t>(cosine), s = std::bit_cast<std::uint64_t>(sine);
  const std::uint64_t exchange = (c ^ s) & swap;
  return {std::bit_cast<double>((c ^ exchange) ^ (((quadrant ^ (quadrant >> 1)) & 1) << 63)),
          std::bit_cast<double>((s ^ exchange) ^ (((quadrant >> 1) & 1) << 63))};
}

/// Two independent normal values of two words. The radius comes from the uniform (2 · radius + 1) / 2^33, never 0: the
/// largest value is 6.8.
inline Pair box_muller(std::uint32_t radius_word, std::uint32_t turn) {
  const double uniform = to_double(2 * std::uint64_t{radius_word} + 1) * 0x1p-33;
  const double radius = std::sqrt(-2 * logarithm(uniform));
  const Pair direction = cosine_sine(turn);
  return {radius * direction.first, radius * direction.second};
}

constexpr std::size_t lanes = 32;

/// Calls `make(blocks, output)` for runs of `lanes` blocks; the last run goes through a buffer.
template <class Make>
inline void fill(std::span<float> values, std::uint64_t seed, Purpose purpose, std::uint64_t index, Make make) {
  constexpr std::size_t run = 4 * lanes;
  if ((values.size() + 3) / 4 > std::numeric_limits<std::uint32_t>::max()) {
    fail("{} random values asked for one index; at most 2^34 are possible", values.size());
  }
  Blocks<lanes> blocks;
  for (std::size_t done = 0; done < values.size(); done += run) {
    make_blocks(blocks, seed, purpose, index, static_cast<std::uint32_t>(done / 4));
    if (values.size() - done >= run) {
      make(blocks, values.data() + done);
    } else {
      float rest[run];
      make(blocks, rest);
      std::copy_n(rest, values.size() - done, values.data() + done);
    }
  }
}

inline void make_normal(const Blocks<lanes>& blocks, float* output) {
  float made[4][lanes];
  for (std::size_t word = 0; word < 4; word += 2) {
    for (std::size_t i = 0; i < lanes; ++i) {
      const Pair pair = box_muller(blocks.words[word][i], blocks.words[word + 1][i]);
      made[word][i] = static_cast<float>(pair.first);
      made[word + 1][i] = static_cast<float>(pair.second);
    }
  }
  for (std::size_t i = 0; i < lanes; ++i) {
    for (std::size_t word = 0; word < 4; ++word) output[4 * i + word] = made[word][i];
  }
}

inline void make_uniform(const Blocks<lanes>& blocks, float* output) {
  for (std::size_t i = 0; i < lanes; ++i) {
    for (std::size_t word = 0; word < 4; ++word) {
      output[4 * i + word] = static_cast<float>(blocks.words[word][i] >> 8) * 0x1p-24F;
    }
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  Blocks<1> block;
  for (std::size_t word = 0; word < 4; ++word) block.words[word][0] = counter[word];
  philox_rounds(block, key[0], key[1]);
  return {block.words[0][0], block.words[1][0], block.words[2][0], block.words[3][0]};
}

Draws::Draws(std::uint64_t seed, Purpose purpose, std::uint64_t index)
    : seed_(seed), index_(index), purpose_(static_cast<std::uint32_t>(purpose)) {}

std::uint32_t Draws::bits() {
  if (used_ == 4) {
    block_ = philox({static_cast<std::uint32_t>(index_), static_cast<std::uint32_t>(index_ >> 32), purpose_, position_},
                    {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
    if (++position_ == 0) fail("2^34 random words drawn for one index; no more are possible");
    used_ = 0;
  }
  return block_[used_++];
}

double Draws::uniform() {
  return (bits() + 0.5) * 0x1p-32;
}

double Draws::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const std::uint32_t radius = bits();
  const Pair pair = box_muller(radius, bits());
  spare_ = pair.second;
  has_spare_ = true;
  return pair.first;
}

std::uint64_t Draws::below(std::uint64_t bound) {
  if (bound == 0) fail("a random number below 0 was asked for");
  // Draws beyond the largest multiple of the bound are rejected; one word is enough for small bounds.
  if (bound <= std::uint64_t{1} << 32) {
    const std::uint64_t whole = (std::uint64_t{1} << 32) / bound * bound;
    std::uint64_t value = bits();
    while (value >= whole) value = bits();
    return value % bound;
  }
  const std::uint64_t excess = (std::numeric_limits<std::uint64_t>::max() % bound + 1) % bound;
  for (;;) {
    const std::uint64_t high = bits();
    const std::uint64_t value = high << 32 | bits();
    if (value <= std::numeric_limits<std::uint64_t>::max() - excess) return value % bound;
  }
}

void fill_normal(std::span<float> values, std::uint64_t seed, Purpose purpose, std::uint64_t index) {
  fill(values, seed, purpose, index, make_normal);
}

void fill_uniform(std::span<float> values, std::uint64_t seed, Purpose purpose, std::uint64_t index) {
  fill(values, seed, purpose, index, make_uniform);
}

std::vector<std::int64_t> permutation(std::int64_t n, std::uint64_t seed, Purpose purpose, std::uint64_t index) {
  if (n < 0) fail("a permutation of {} numbers was asked for", n);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  Draws draws(seed, purpose, index);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draws.below(i)]);
  return order;
}

}  // namespace couplet
