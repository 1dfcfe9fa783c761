#include "method/sampling/initial_noise.h"

#include "method/data/noise.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace couplet {
namespace {

/// How often each of `labels` values is asked for.
std::vector<std::int64_t> counts(const at::Tensor& found, std::int64_t labels) {
  const at::Tensor all = at::bincount(found, {}, labels);
  return {all.data_ptr<std::int64_t>(), all.data_ptr<std::int64_t>() + all.numel()};
}

TEST(InitialNoise, IsAFunctionOfSeedAndSample) {
  const DatasetShape shape{2, 4, 3, {10, 20, 30}};
  const InitialNoise all = fresh_noise(shape, 5, 0, 20), some = fresh_noise(shape, 5, 7, 6);
  EXPECT_EQ(all.z.sizes(), (at::IntArrayRef{20, 2, 4, 4}));
  EXPECT_EQ(all.condition.rows(), 20);
  EXPECT_FALSE(all.condition.image.defined());
  EXPECT_TRUE(some.z.equal(all.z.narrow(0, 7, 6)));
  EXPECT_TRUE(some.condition.labels.equal(all.condition.narrow(7, 6).labels));
  EXPECT_TRUE(all.z.equal(normal_rows({2, 4, 4}, 5, Purpose::evaluation_noise,
                                      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})));
  EXPECT_FALSE(fresh_noise(shape, 6, 0, 20).z.equal(all.z));
}

TEST(InitialNoise, AsksForClassesAsOftenAsTheyAreInTheData) {
  const DatasetShape shape{1, 2, 3, {100, 0, 300}};
  const std::vector<std::int64_t> many = counts(fresh_noise(shape, 0, 0, 4000).condition.labels, 3);
  EXPECT_NEAR(static_cast<double>(many[0]), 1000, 2);
  EXPECT_EQ(many[1], 0);
  // Any run of samples is spread over them.
  const std::vector<std::int64_t> few = counts(fresh_noise(shape, 0, 1000, 40).condition.labels, 3);
  EXPECT_NEAR(static_cast<double>(few[0]), 10, 1);
  EXPECT_EQ(few[1], 0);
}

TEST(InitialNoise, ImagesWithoutClassesHaveLabelZero) {
  for (const std::int64_t classes : {0, 1}) {
    const DatasetShape shape{1, 2, classes, {50}};
    EXPECT_TRUE(fresh_noise(shape, 0, 0, 60).condition.labels.equal(at::zeros({60}, at::kLong))) << classes;
  }
}

TEST(Condition, AnImageGoesWhereItsLabelGoes) {
  const Condition condition{at::arange(5), at::rand({5, 1, 2, 2})};
  const Condition part = condition.narrow(1, 3).to(at::kCPU);
  EXPECT_EQ(part.rows(), 3);
  EXPECT_TRUE(part.labels.equal(at::arange(1, 4)));
  EXPECT_TRUE(part.image.equal(condition.image.narrow(0, 1, 3)));
}

}  // namespace
}  // namespace couplet
