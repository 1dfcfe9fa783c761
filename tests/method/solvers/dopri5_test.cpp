#include "method/solvers/dopri5.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// dx/dt = x + t: x(0) = (x(1) + 2) / e - 1.
at::Tensor slope(const at::Tensor& x, double t) {
  return x + t;
}

double solved(double tolerance, std::int64_t& nfe) {
  const AdaptiveSolution solution =
      solve_adaptively(slope, at::full({1, 1}, 0.3, at::kDouble), 1, 0, {tolerance, tolerance});
  nfe = solution.nfe;
  return solution.x.item<double>();
}

TEST(AdaptiveSolver, KeepsItsTolerance) {
  const double exact = 2.3 / std::exp(1.0) - 1;
  std::int64_t last = 0;
  for (const double tolerance : {1e-3, 1e-6, 1e-9, 1e-12}) {
    std::int64_t nfe = 0;
    EXPECT_NEAR(solved(tolerance, nfe), exact, 10 * tolerance);
    EXPECT_GT(nfe, last) << "a smaller tolerance costs more";
    last = nfe;
  }
  // Of fifth order: a tolerance a million times smaller takes about 10^(6/5) = 16 times the steps.
  std::int64_t few = 0, many = 0;
  solved(1e-6, few);
  solved(1e-12, many);
  EXPECT_LT(many, 20 * few);
}

TEST(AdaptiveSolver, GoesBothWays) {
  const AdaptiveSolution back = solve_adaptively(slope, at::full({1, 1}, 0.3, at::kDouble), 1, 0, {1e-10, 1e-10});
  const AdaptiveSolution there = solve_adaptively(slope, back.x, 0, 1, {1e-10, 1e-10});
  EXPECT_NEAR(there.x.item<double>(), 0.3, 1e-8);
}

TEST(AdaptiveSolver, CountsEveryEvaluationAndStaysInside) {
  std::int64_t made = 0;
  std::set<double> times;
  const VelocityField field = [&](const at::Tensor& x, double t) {
    ++made;
    times.insert(t);
    return at::sin(x * 40) * 5;
  };
  const AdaptiveSolution solution = solve_adaptively(field, at::linspace(-1, 1, 8).view({4, 2}), 1, 0, {1e-5, 1e-5});
  EXPECT_EQ(solution.nfe, made);
  EXPECT_EQ(solution.nfe, 2 + 6 * (solution.steps + solution.rejected)) << "each step starts with the last one's slope";
  EXPECT_EQ(*times.begin(), 0);
  EXPECT_EQ(*times.rbegin(), 1);
}

struct CountedSolution {
  const char* name;
  VelocityField field;
  at::Tensor start;
  double from;
  std::array<std::int64_t, 4> nfe;  ///< of torchdiffeq 0.2.5's dopri5 at 1e-3, 1e-4, 1e-5, 1e-6, in float64
};

// No more, and fewer where torchdiffeq rejects steps for what lies beyond the end, which ours does not look at: some of
// these fields are steep there.
TEST(AdaptiveSolver, TakesAsManyEvaluationsAsTorchdiffeq) {
  const auto line = [](double first, double last, std::int64_t rows, std::int64_t columns) {
    return at::linspace(first, last, rows * columns, at::kDouble).view({rows, columns});
  };
  const std::vector<CountedSolution> all{
      {"x + t", slope, line(0.3, 0.3, 1, 1), 1, {20, 20, 26, 38}},
      {"-20 x", [](const at::Tensor& x, double) { return x * -20; }, line(1, 1, 1, 1), 0, {68, 86, 104, 152}},
      {"5 sin 40 x",
       [](const at::Tensor& x, double) { return at::sin(x * 40) * 5; },
       line(-1, 1, 4, 2),
       1,
       {1028, 464, 488, 506}},
      {"(1 + t) tanh 3 x' - x t",
       [](const at::Tensor& x, double t) { return at::tanh(x.flip(1) * 3) * (1 + t) - x * t; },
       line(-2, 2, 3, 4),
       1,
       {20, 26, 38, 56}},
      {"1 / (0.01 + (t - 1/2)²)",
       [](const at::Tensor& x, double t) { return at::full_like(x, 1 / (1e-2 + (t - 0.5) * (t - 0.5))); },
       line(0, 0, 1, 1),
       1,
       {68, 92, 104, 146}},
      {"that of Gaussian data of deviation 1/2",
       [](const at::Tensor& x, double t) { return x * ((t - (1 - t) * 0.25) / ((1 - t) * (1 - t) * 0.25 + t * t)); },
       line(-1.5, 2, 3, 2),
       1,
       {26, 32, 44, 62}}};
  std::int64_t ours = 0, theirs = 0, same = 0;
  for (const CountedSolution& one : all) {
    double tolerance = 1e-3;
    for (const std::int64_t wanted : one.nfe) {
      const std::int64_t nfe =
          solve_adaptively(one.field, one.start, one.from, 1 - one.from, {tolerance, tolerance}).nfe;
      EXPECT_LE(nfe, wanted) << one.name << " at " << tolerance;
      EXPECT_GE(nfe, wanted - 12) << one.name << " at " << tolerance << ": two steps";
      same += nfe == wanted ? 1 : 0;
      ours += nfe;
      theirs += wanted;
      tolerance /= 10;
    }
  }
  EXPECT_NEAR(static_cast<double>(ours), static_cast<double>(theirs), 0.05 * static_cast<double>(theirs));
  EXPECT_GE(same, 16) << "of 24";
}

TEST(AdaptiveSolver, ShortensStepsThatFail) {
  // A steep passage at t = 0.5, unknown until it is reached.
  const VelocityField field = [](const at::Tensor& x, double t) {
    return at::full_like(x, 1 / (1e-4 + (t - 0.5) * (t - 0.5)));
  };
  const AdaptiveSolution solution = solve_adaptively(field, at::zeros({1, 1}, at::kDouble), 1, 0, {1e-8, 1e-8});
  EXPECT_GT(solution.rejected, 0);
  EXPECT_NEAR(solution.x.item<double>(), -2 * 100 * std::atan(50.0), 1e-5);
}

TEST(AdaptiveSolver, ErrorsAreTakenOverTheWholeBatch) {
  // One steep row among still ones: the root mean square over all lets its error be larger than alone.
  const at::Tensor alone = at::ones({1, 1}, at::kDouble);
  const at::Tensor among = at::cat({alone, at::zeros({999, 1}, at::kDouble)});
  const VelocityField field = [](const at::Tensor& x, double) { return x * -20; };
  const AdaptiveSolution one = solve_adaptively(field, alone, 0, 1, {1e-8, 1e-8});
  const AdaptiveSolution many = solve_adaptively(field, among, 0, 1, {1e-8, 1e-8});
  EXPECT_LT(many.nfe, one.nfe);
  EXPECT_EQ(many.x[5].item<double>(), 0);
}

TEST(AdaptiveSolver, RowsThatAreNotFiniteHaveNoSay) {
  at::Tensor start = at::full({3, 2}, 0.3, at::kDouble);
  const AdaptiveSolution sound = solve_adaptively(slope, start.narrow(0, 0, 2), 1, 0, {1e-8, 1e-8});
  start[2][1] = std::numeric_limits<double>::quiet_NaN();
  const AdaptiveSolution mixed = solve_adaptively(slope, start, 1, 0, {1e-8, 1e-8});
  EXPECT_EQ(mixed.nfe, sound.nfe);
  EXPECT_TRUE(mixed.x.narrow(0, 0, 2).equal(sound.x));
  EXPECT_FALSE(mixed.x[2].isfinite().all().item<bool>());
  const AdaptiveSolution none = solve_adaptively(slope, start.narrow(0, 2, 1), 1, 0, {1e-8, 1e-8});
  EXPECT_LT(none.nfe, 100) << "a batch without a finite row ends soon";
}

TEST(AdaptiveSolver, RefusesTolerancesThatCannotBeKept) {
  const at::Tensor start = at::ones({1, 1});
  for (const double tolerance : {0.0, -1.0, std::nan("")})
    EXPECT_THROW(solve_adaptively(slope, start, 1, 0, {tolerance, 1e-5}), Error);
  EXPECT_THROW(solve_adaptively(slope, start, 1, 0, {1e-5, -1e-5}), Error);
}

TEST(AdaptiveSolver, SaysWhereAnEndlessFieldStands) {
  const VelocityField noise = [](const at::Tensor& x, double t) { return at::sin(x * 1e7 + t * 1e9) * 1e3; };
  try {
    solve_adaptively(noise, at::ones({1, 1}, at::kDouble), 1, 0, {1e-12, 1e-12});
    FAIL() << "it came to an end";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("take larger atol"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace couplet
