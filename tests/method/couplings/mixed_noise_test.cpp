// Fresh noise mixed into the pairs of a coupling, against closed forms.
#include "method/couplings/mixed_noise.h"

#include "pipeline/tensor/random.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

namespace couplet::testing {
namespace {

constexpr std::int64_t table_rows = 50;
const std::vector<std::int64_t> image_shape{2, 4, 4};

/// Normal noise that is a function of the row, which position p visits: p mod 50.
class RowCoupling : public Coupling {
public:
  static at::Tensor noise_of(std::int64_t row) {
    at::Tensor noise = at::empty(image_shape);
    fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, 1, Purpose::table_noise,
                static_cast<std::uint64_t>(row));
    return noise;
  }
  static Pairs rows(const std::vector<std::int64_t>& numbers) {
    std::vector<at::Tensor> noise;
    for (const std::int64_t number : numbers) noise.push_back(noise_of(number % table_rows));
    const at::Tensor label = at::tensor(numbers, at::kLong);
    return {label.to(at::kFloat).view({-1, 1, 1, 1}).expand({-1, 2, 4, 4}).clone(), at::stack(noise), label};
  }

  void agree(std::int64_t step) override { agreed_ = step; }
  Pairs draw(const BatchRange& range) override { return rows(range.positions()); }
  std::int64_t held_out_rows() const override { return table_rows; }
  Pairs held_out(const std::vector<std::int64_t>& numbers) const override { return rows(numbers); }
  NamedTensors state() const override { return {{"agreed", at::scalar_tensor(agreed_, at::kLong)}}; }
  void restore(const NamedTensors& state) override { agreed_ = state.at("agreed").item<std::int64_t>(); }
  nlohmann::json provenance() const override { return {{"table", "abc"}}; }

private:
  std::int64_t agreed_ = 0;
};

std::unique_ptr<Coupling> mixed(double rho, double fresh_share) {
  return mix_noise(std::make_unique<RowCoupling>(), {rho, fresh_share, 11, 3});
}

/// ε of a position of the run, or of a held-out row.
at::Tensor fresh_noise_of(std::uint64_t seed, std::int64_t index) {
  at::Tensor noise = at::empty(image_shape);
  fill_normal({noise.data_ptr<float>(), static_cast<std::size_t>(noise.numel())}, seed, Purpose::mixing_noise,
              static_cast<std::uint64_t>(index));
  return noise;
}

double mean_product(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) * b.to(at::kDouble)).mean().item<double>();
}

constexpr std::int64_t many = 20000;
const double values = static_cast<double>(many) * 32;

// z and ε are independent and of unit variance, so that z' is, and ⟨z, z'⟩ = √(1 - ρ²). The 50 rows' own sums are exact
// values, not estimates: what is drawn here is ε alone.
TEST(MixedNoise, KeepsUnitVarianceAndGivesTheCorrelation) {
  const Pairs plain = RowCoupling().draw({0, 0, many});
  const double own = mean_product(plain.noise, plain.noise), bound = 5 * std::sqrt(2 / values);
  for (const double rho : {0.1, 0.3, 0.8}) {
    const Pairs pairs = mixed(rho, 0)->draw({0, 0, many});
    EXPECT_NEAR(mean_product(pairs.noise, pairs.noise), (1 - rho * rho) * own + rho * rho, bound) << rho;
    EXPECT_NEAR(mean_product(pairs.noise, plain.noise), std::sqrt(1 - rho * rho) * own, bound) << rho;
    EXPECT_TRUE(pairs.image.equal(plain.image));
    EXPECT_TRUE(pairs.label.equal(plain.label));
  }
}

TEST(MixedNoise, IsAFunctionOfSeedAndPosition) {
  const double rho = 0.6;
  const Pairs pairs = mixed(rho, 0)->draw({4, 48, 12});
  for (std::int64_t i = 0; i < 12; ++i) {
    const at::Tensor expected = RowCoupling::noise_of((48 + i) % table_rows) * 0.8 + fresh_noise_of(11, 48 + i) * rho;
    EXPECT_TRUE(pairs.noise[i].allclose(expected, 0, 1e-6)) << i;
  }
  const at::Tensor later = mixed(rho, 0)->draw({100, 48 + table_rows, 12}).noise;
  EXPECT_FALSE(later.equal(pairs.noise)) << "each visit has noise of its own";
}

// Each of three ranks draws a third of the batch.
TEST(MixedNoise, EqualsToTheByteOnAnyNumberOfRanks) {
  const at::Tensor all = mixed(0.5, 0.3)->draw({2, 24, 12, 12}).noise;
  std::vector<at::Tensor> parts;
  for (std::int64_t rank = 0; rank < 3; ++rank) parts.push_back(mixed(0.5, 0.3)->draw({2, 24 + 4 * rank, 4, 12}).noise);
  EXPECT_TRUE(at::cat(parts).equal(all));
}

TEST(MixedNoise, FullMixingAndFullShareAreFreshNoise) {
  std::vector<at::Tensor> fresh;
  for (std::int64_t i = 0; i < 40; ++i) fresh.push_back(fresh_noise_of(11, 7 + i));
  EXPECT_TRUE(mixed(1, 0)->draw({0, 7, 40}).noise.equal(at::stack(fresh)));
  EXPECT_TRUE(mixed(0, 1)->draw({0, 7, 40}).noise.equal(at::stack(fresh)));
  EXPECT_TRUE(mixed(0.4, 1)->draw({0, 7, 40}).noise.equal(at::stack(fresh)));
}

TEST(MixedNoise, AShareOfThePairsIsFreshAndTheOthersAreLeftAlone) {
  const double share = 0.2;
  const Pairs pairs = mixed(0, share)->draw({0, 0, many}), plain = RowCoupling().draw({0, 0, many});
  const at::Tensor untouched = (pairs.noise == plain.noise).flatten(1).all(1);
  const double found = 1 - untouched.to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(found, share, 5 * std::sqrt(share * (1 - share) / static_cast<double>(many)));
  for (std::int64_t i = 0; i < 200; ++i)
    if (!untouched[i].item<bool>()) {
      EXPECT_TRUE(pairs.noise[i].equal(fresh_noise_of(11, i))) << i;
    }
}

TEST(MixedNoise, HeldOutPairsAreMixedTheSameEachTime) {
  const auto coupling = mixed(0.6, 0);
  EXPECT_EQ(coupling->held_out_rows(), table_rows);
  const at::Tensor some = coupling->held_out({3, 17}).noise;
  static_cast<void>(coupling->draw({0, 0, 5}));
  EXPECT_TRUE(some.equal(coupling->held_out({2, 3, 17, 30}).noise.narrow(0, 1, 2)));
  EXPECT_TRUE(some[1].allclose(RowCoupling::noise_of(17) * 0.8 + fresh_noise_of(3, 17) * 0.6, 0, 1e-6));
}

TEST(MixedNoise, HandsOnWhatTheCouplingSays) {
  const auto coupling = mixed(0.5, 0.25);
  coupling->agree(7);
  const NamedTensors state = coupling->state();
  EXPECT_EQ(state.at("agreed").item<std::int64_t>(), 7);
  coupling->agree(9);
  coupling->restore(state);
  EXPECT_EQ(coupling->state().at("agreed").item<std::int64_t>(), 7);
  EXPECT_EQ(coupling->provenance(), (nlohmann::json{{"table", "abc"}, {"mix", 0.5}, {"fresh_share", 0.25}}));
}

}  // namespace
}  // namespace couplet::testing
