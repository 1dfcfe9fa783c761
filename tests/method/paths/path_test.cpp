// What every path of the registry must fulfil, and the straight one against other people's implementation.
#include "method/paths/path.h"

#include "storage/error.h"
#include "tests/method/reference.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace couplet::testing {
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

TEST(Path, TheStraightOneIsTheReferences) {
  const ReferenceFile reference("paths");
  const auto path = find_path("linear").make({});
  const at::Tensor& t = reference["t"];
  const auto at_all_times = [&](const char* name) { return reference[name].unsqueeze(0).expand({t.size(0), -1, -1}); };
  const at::Tensor x = at_all_times("x"), z = at_all_times("z");
  EXPECT_LE(difference(path->state(x, z, t), reference["condot.xt"]), 1e-12);
  const at::Tensor finite = reference["condot.u"].isfinite();
  EXPECT_GE(finite.sum().item<std::int64_t>(), finite.numel() / 2);
  EXPECT_LE(difference(path->velocity(x, z, t).masked_select(finite), reference["condot.u"].masked_select(finite)),
            1e-12);
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
}  // namespace couplet::testing
