// What every path of the registry must fulfil.
#include "method/paths/path.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include "storage/error.h"

#include <string>

namespace couplet {
namespace {

/// Times within the safe ends, float64.
at::Tensor times_of(const Path& path, std::int64_t count) {
  const double first = path.first_time(), last = path.last_time();
  return first + (last - first) * (at::arange(count, at::kDouble) + 0.5) / static_cast<double>(count);
}

TEST(Path, SlopesAreTheDerivativesOfTheCoefficients) {
  constexpr double step = 1e-6;
  for (const PathKind& kind : path_kinds()) {
    const auto path = kind.make({});
    const at::Tensor t = times_of(*path, 50);
    const at::Tensor alpha = (path->alpha(t + step) - path->alpha(t - step)) / (2 * step);
    const at::Tensor sigma = (path->sigma(t + step) - path->sigma(t - step)) / (2 * step);
    EXPECT_TRUE(path->alpha_slope(t).allclose(alpha, 1e-6, 1e-7)) << kind.name;
    EXPECT_TRUE(path->sigma_slope(t).allclose(sigma, 1e-6, 1e-7)) << kind.name;
  }
}

TEST(Path, StateAndVelocityAreThoseOfTheCoefficients) {
  for (const PathKind& kind : path_kinds()) {
    const auto path = kind.make({});
    const at::Tensor t = times_of(*path, 6), shape = at::ones({6, 2, 3, 3}, at::kDouble);
    const at::Tensor x = at::rand_like(shape), z = at::randn_like(shape);
    const auto rows = [](const at::Tensor& values) { return values.view({6, 1, 1, 1}); };
    const at::Tensor state = rows(path->alpha(t)) * x + rows(path->sigma(t)) * z;
    const at::Tensor velocity = rows(path->alpha_slope(t)) * x + rows(path->sigma_slope(t)) * z;
    EXPECT_TRUE(path->state(x, z, t).allclose(state, 1e-12, 1e-12)) << kind.name;
    EXPECT_TRUE(path->velocity(x, z, t).allclose(velocity, 1e-12, 1e-12)) << kind.name;
  }
}

TEST(Path, LeadsFromTheImageToNoise) {
  for (const PathKind& kind : path_kinds()) {
    const auto path = kind.make({});
    const at::Tensor ends = at::tensor({path->first_time(), path->last_time()}, at::kDouble);
    EXPECT_FALSE(kind.help.empty()) << kind.name;
    EXPECT_NEAR(path->alpha(ends)[0].item<double>(), 1, 1e-2) << kind.name;
    EXPECT_NEAR(path->sigma(ends)[0].item<double>(), 0, 1e-1) << kind.name;
    EXPECT_NEAR(path->sigma(ends)[1].item<double>() / path->prior_scale(), 1, 1e-2) << kind.name;
    for (const at::Tensor& value :
         {path->alpha(ends), path->sigma(ends), path->alpha_slope(ends), path->sigma_slope(ends)})
      EXPECT_TRUE(value.isfinite().all().item<bool>()) << kind.name;
  }
}

// Networks are given float32 times, as near to the ends as paths go.
TEST(Path, CoefficientsKeepTheirDigitsInFloat32) {
  for (const PathKind& kind : path_kinds()) {
    const auto path = kind.make({});
    const double first = path->first_time(), last = path->last_time();
    const at::Tensor t = at::tensor({first, first + 1e-5, 1e-4, 1e-3, 0.3, 0.9, 0.999}, at::kDouble).clamp(first, last);
    const at::Tensor rounded = t.to(at::kFloat), exact = rounded.to(at::kDouble);
    const auto expect_equal = [&](const at::Tensor& found, const at::Tensor& expected) {
      EXPECT_TRUE(found.to(at::kDouble).allclose(expected, 3e-6, 0)) << kind.name << '\n' << found << expected;
    };
    expect_equal(path->alpha(rounded), path->alpha(exact));
    expect_equal(path->sigma(rounded), path->sigma(exact));
    expect_equal(path->alpha_slope(rounded), path->alpha_slope(exact));
    expect_equal(path->sigma_slope(rounded), path->sigma_slope(exact));
  }
}

TEST(Path, StateAndVelocitySayImageAndNoiseAndTheyTheVelocity) {
  for (const PathKind& kind : path_kinds()) {
    for (const auto type : {at::kDouble, at::kFloat}) {
      const double tolerance = type == at::kDouble ? 1e-9 : 2e-3;
      const auto path = kind.make({});
      const at::Tensor t = times_of(*path, 40).to(type), shape = at::ones({40, 2, 3, 3}, type);
      const at::Tensor x = at::rand_like(shape), z = at::randn_like(shape);
      const at::Tensor x_t = path->state(x, z, t), v = path->velocity(x, z, t);
      EXPECT_TRUE(path->noise_of(v, x_t, t).allclose(z, tolerance, tolerance)) << kind.name;
      EXPECT_TRUE(path->image_of(v, x_t, t).allclose(x, tolerance, tolerance)) << kind.name;
      EXPECT_TRUE(path->velocity_of_noise(z, x_t, t).allclose(v, tolerance, tolerance)) << kind.name;
      EXPECT_TRUE(path->velocity_of_image(x, x_t, t).allclose(v, tolerance, tolerance)) << kind.name;
    }
  }
}

TEST(Path, FindsTheTimeOfARatioOfNoiseToImage) {
  for (const PathKind& kind : path_kinds()) {
    const auto path = kind.make({});
    for (const double t : {path->first_time() + 1e-6, 1e-3, 0.2, 0.7, 0.99}) {
      const double ratio = path->log_ratio(t);
      EXPECT_NEAR(path->time_of_log_ratio(ratio), t, 1e-9) << kind.name;
      EXPECT_NEAR(path->Path::time_of_log_ratio(ratio), t, 1e-9) << kind.name << ", by bisection";
    }
  }
}

TEST(Path, StartsFromNoiseOfItsOwnScaleAndLeavesWhatIsAskedFor) {
  const at::Tensor ends = at::tensor({0.0, 1.0}, at::kDouble);
  const auto ve = find_path("ve").make({.ve_sigma_min = 0.02, .ve_sigma_max = 30});
  EXPECT_EQ(ve->prior_scale(), 30);
  EXPECT_TRUE(ve->sigma(ends).allclose(at::tensor({0.02, 30.0}, at::kDouble)));
  const auto straight = find_path("linear").make({.sigma_min = 0.1});
  EXPECT_TRUE(straight->sigma(ends).allclose(at::tensor({0.1, 1.0}, at::kDouble)));
  EXPECT_NEAR(straight->time_of_log_ratio(straight->log_ratio(0.3)), 0.3, 1e-12);
}

TEST(Path, OptionsThatDoNotFitTogetherAreRefused) {
  const auto refusal = [](const char* path, const PathOptions& options) -> std::string {
    try {
      find_path(path).make(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      return error.what();
    }
    return "not refused";
  };
  const auto expect = [](const std::string& found, const std::string& part) {
    EXPECT_NE(found.find(part), std::string::npos) << found;
  };
  expect(refusal("vp", {.vp_beta_min = 20, .vp_beta_max = 20}),
         "student.vp-beta-min = 20 and student.vp-beta-max = 20");
  expect(refusal("ve", {.ve_sigma_min = 2, .ve_sigma_max = 1, .section = "student.wide"}),
         "student.wide.ve-sigma-min = 2 and student.wide.ve-sigma-max = 1");
  expect(refusal("linear", {.sigma_min = 1}), "student.sigma-min = 1");
}

TEST(Path, AnUnknownOneIsRefused) {
  try {
    find_path("liner");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    EXPECT_NE(std::string(error.what()).find("'linear'"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace couplet
