// Pairing fidelity against loops over all pairs.
#include "method/metrics/pairing.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace couplet {
namespace {

double distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).square().sum().sqrt().item<double>();
}

/// 40 images of 3 classes; the first 11 rows ask, of which row 3 is not in the pool.
PairingInput example() {
  at::manual_seed(5);
  PairingInput input;
  input.pool = at::randn({40, 1, 4, 4});
  input.pool_labels = at::arange(40, at::kLong).remainder(3);
  input.own = at::arange(11, at::kLong);
  input.own[3] = -1;
  input.images = input.pool.slice(0, 0, 11).clone();
  input.images[3] += 0.5;
  input.labels = input.pool_labels.slice(0, 0, 11).clone();
  input.generated = input.images + at::randn({11, 1, 4, 4}) * at::linspace(0, 2, 11).view({11, 1, 1, 1});
  return input;
}

TEST(Pairing, EqualsBruteForceInAnyChunks) {
  const PairingInput input = example();
  std::int64_t nearest = 0;
  for (const std::int64_t chunk : {1, 7, 4096}) {
    const PairingFidelity fidelity = pairing_fidelity(input, chunk);
    for (std::int64_t row = 0; row < 11; ++row) {
      std::vector<double> others;
      const double own = distance(input.generated[row], input.images[row]);
      bool is_nearest = true;
      for (std::int64_t entry = 0; entry < 40; ++entry) {
        if (entry == input.own[row].item<std::int64_t>()) continue;
        is_nearest = is_nearest && own <= distance(input.generated[row], input.pool[entry]);
        if (input.pool_labels[entry].item<std::int64_t>() == input.labels[row].item<std::int64_t>()) {
          others.push_back(distance(input.images[row], input.pool[entry]));
        }
      }
      std::sort(others.begin(), others.end());
      const double median = (others[(others.size() - 1) / 2] + others[others.size() / 2]) / 2;
      EXPECT_NEAR(fidelity.ratio[row].item<double>(), own / median, 1e-12);
      EXPECT_EQ(fidelity.nearest[row].item<bool>(), is_nearest) << "row " << row;
      nearest += is_nearest ? 1 : 0;
    }
  }
  EXPECT_GT(nearest, 0);
  EXPECT_LT(nearest, 33);
}

TEST(Pairing, APerfectStudentIsAtDistanceZero) {
  PairingInput input = example();
  input.generated = input.images.clone();
  const PairingFidelity fidelity = pairing_fidelity(input);
  EXPECT_TRUE(fidelity.ratio.equal(at::zeros({11}, at::kDouble)));
  EXPECT_TRUE(fidelity.nearest.all().item<bool>());
}

TEST(Pairing, AnEqualImageElsewhereIsNoNearer) {
  PairingInput input = example();
  input.pool[20] = input.pool[0];
  input.generated[0] = input.images[0] + 1e-3;
  EXPECT_TRUE(pairing_fidelity(input).nearest[0].item<bool>());
}

TEST(Pairing, ALargeCommonOffsetCostsNoDigits) {
  PairingInput input = example();
  for (at::Tensor* images : {&input.pool, &input.images, &input.generated}) *images = images->to(at::kDouble);
  const PairingFidelity before = pairing_fidelity(input);
  for (at::Tensor* images : {&input.pool, &input.images, &input.generated}) *images += 1e6;
  EXPECT_TRUE(pairing_fidelity(input).ratio.allclose(before.ratio, 1e-8, 1e-8));
}

TEST(Pairing, ARowThatIsAloneInItsClassHasNoRatioAndEndsNothing) {
  const PairingFidelity before = pairing_fidelity(example());
  PairingInput alone = example();
  alone.labels[2] = 7;
  alone.pool_labels[2] = 7;
  PairingInput absent = example();
  absent.labels[2] = 7;
  for (const PairingInput& input : {alone, absent}) {
    const PairingFidelity found = pairing_fidelity(input);
    EXPECT_TRUE(found.ratio[2].isnan().item<bool>());
    EXPECT_TRUE(found.compared.equal(at::arange(11).ne(2)));
    EXPECT_TRUE(found.ratio.masked_select(input.labels.lt(2)).equal(before.ratio.masked_select(input.labels.lt(2))));
    EXPECT_TRUE(found.nearest.equal(before.nearest));
  }
}

TEST(Pairing, ARowWhoseClassHasEqualImagesAloneHasNoRatio) {
  PairingInput input = example();
  input.labels[2] = 7;
  for (const std::int64_t entry : {2, 20, 21}) {
    input.pool_labels[entry] = 7;
    input.pool[entry] = input.images[2];
  }
  EXPECT_FALSE(pairing_fidelity(input).compared[2].item<bool>());
}

TEST(Pairing, AnImageThatIsNotFiniteIsNotTakenForOneWithoutAClass) {
  PairingInput input = example();
  input.generated[4][0][0][0] = NAN;
  const PairingFidelity found = pairing_fidelity(input);
  EXPECT_TRUE(found.ratio[4].isnan().item<bool>());
  EXPECT_TRUE(found.compared.all().item<bool>());
}

TEST(Pairing, RefusesWhatDoesNotFit) {
  PairingInput shapes = example();
  shapes.generated = shapes.generated.flatten(1);
  EXPECT_THROW(pairing_fidelity(shapes), Error);
  PairingInput beyond = example();
  beyond.own[0] = 40;
  EXPECT_THROW(pairing_fidelity(beyond), Error);
}

}  // namespace
}  // namespace couplet
