// A coupling is judged by the pairs of the steps behind training, the same on any number of ranks.
#include "stages/drawn_pairs.h"

#include "method/statistics/coupling_quality.h"
#include "pipeline/tensor/random.h"
#include "tests/pipeline/ranks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t steps = 7, batch = 240, channels = 3, size = 2, values = channels * size * size;

/// Noise and image of position p in the run are functions of p. It notes what it is asked for.
class PositionCoupling : public Coupling {
public:
  void agree(std::int64_t step) override { agreed.push_back(step); }
  Pairs draw(const BatchRange& range) override {
    EXPECT_EQ(agreed.back(), range.step);
    drawn.push_back(range);
    return pairs_at(range.first, range.rows);
  }
  std::int64_t held_out_rows() const override { return 0; }
  Pairs held_out(const std::vector<std::int64_t>&) const override { return {}; }
  nlohmann::json provenance() const override { return {}; }

  static Pairs pairs_at(std::int64_t first, std::int64_t rows) {
    const at::Tensor positions = at::arange(first, first + rows);
    at::Tensor noise = at::empty({rows, channels, size, size}), image = at::empty_like(noise);
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto fill = [&](at::Tensor row, Purpose purpose) {
        fill_normal({row.data_ptr<float>(), values}, 5, purpose, static_cast<std::uint64_t>(first + i));
      };
      fill(noise[i], Purpose::student_noise);
      fill(image[i], Purpose::evaluation_noise);
    }
    return {0.5 * image + 0.3 * noise, noise, positions.remainder(10)};
  }

  std::vector<std::int64_t> agreed;
  std::vector<BatchRange> drawn;
};

TEST(DrawnPairs, AreThoseOfTheStepsBehindTheLastOne) {
  PositionCoupling coupling;
  const nlohmann::ordered_json found = judge_drawn_pairs(coupling, steps, batch, judged_rows(values) + 1, ranks());
  const std::int64_t asked = (judged_rows(values) + batch - 1) / batch, own = batch / ranks().size();
  ASSERT_EQ(std::ssize(coupling.drawn), asked);
  for (std::int64_t i = 0; i < asked; ++i) {
    const BatchRange& range = coupling.drawn[static_cast<std::size_t>(i)];
    EXPECT_EQ(coupling.agreed[static_cast<std::size_t>(i)], steps + i);
    EXPECT_EQ(range.step, steps + i);
    EXPECT_EQ(range.first, (steps + i) * batch + ranks().rank() * own);
    EXPECT_EQ(range.rows, own);
    EXPECT_EQ(range.batch, batch);
  }
  if (!ranks().is_root()) {
    EXPECT_TRUE(found.is_null());
    return;
  }
  const Pairs pairs = PositionCoupling::pairs_at(steps * batch, judged_rows(values));
  EXPECT_EQ(found, judge_pairs(pairs.image, pairs.noise, pairs.label)) << "to the bit, on any number of ranks";
  EXPECT_EQ(found.at("rows"), judged_rows(values));
}

TEST(DrawnPairs, AreNoMoreThanThereAreImages) {
  PositionCoupling coupling;
  const nlohmann::ordered_json found = judge_drawn_pairs(coupling, steps, batch, batch + 1, ranks());
  EXPECT_EQ(std::ssize(coupling.drawn), 2);
  if (ranks().is_root()) {
    EXPECT_EQ(found.at("rows"), batch + 1);
  }
}

}  // namespace
}  // namespace couplet
