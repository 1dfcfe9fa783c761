// Assignments against every permutation, against values of other people's programs, and by their own prices.
#include "method/transport/assignment.h"

#include "method/transport/batch_assignment.h"
#include "tests/method/reference.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

namespace couplet::testing {
namespace {

template <class Value>
std::span<const Value> values_of(const at::Tensor& matrix) {
  return {matrix.const_data_ptr<Value>(), static_cast<std::size_t>(matrix.numel())};
}

Assignment solve_matrix(const at::Tensor& matrix) {
  return matrix.scalar_type() == at::kFloat ? solve_assignment(values_of<float>(matrix), matrix.size(0))
                                            : solve_assignment(values_of<double>(matrix), matrix.size(0));
}

/// How far the prices are from proving optimality, in units of the largest cost.
double relative_violation(const at::Tensor& matrix, const Assignment& assignment) {
  const double violation = matrix.scalar_type() == at::kFloat
                               ? largest_violation(values_of<float>(matrix), assignment)
                               : largest_violation(values_of<double>(matrix), assignment);
  return violation / std::max(matrix.abs().max().item<double>(), 1e-300);
}

double cost_of(const at::Tensor& matrix, const std::vector<std::int32_t>& columns) {
  double cost = 0;
  for (std::size_t i = 0; i < columns.size(); ++i)
    cost += matrix[static_cast<std::int64_t>(i)][columns[i]].item<double>();
  return cost;
}

/// The least cost over all permutations.
double least_cost(const at::Tensor& matrix) {
  const auto n = matrix.size(0);
  const at::Tensor values = matrix.to(at::kDouble).contiguous();
  const auto* c = values.const_data_ptr<double>();
  std::vector<std::int32_t> columns(static_cast<std::size_t>(n));
  std::iota(columns.begin(), columns.end(), 0);
  double least = std::numeric_limits<double>::infinity();
  do {
    double cost = 0;
    for (std::int64_t i = 0; i < n; ++i) cost += c[i * n + columns[static_cast<std::size_t>(i)]];
    least = std::min(least, cost);
  } while (std::next_permutation(columns.begin(), columns.end()));
  return least;
}

std::vector<std::int32_t> integers(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kInt).contiguous();
  return {values.const_data_ptr<std::int32_t>(), values.const_data_ptr<std::int32_t>() + values.numel()};
}

/// Images whose spectrum falls as that of photographs, and noise: float32 [n, d] each.
std::pair<at::Tensor, at::Tensor> images_and_noise(std::int64_t n, std::int64_t d) {
  const at::Tensor scales = at::arange(1, d + 1, at::kFloat).pow(-0.75);
  const at::Tensor mixing = at::randn({d, d}) / std::sqrt(static_cast<double>(d));
  return {(at::randn({n, d}) * scales * 8).mm(mixing), at::randn({n, d})};
}

using Matrices = std::vector<std::pair<std::string, at::Tensor>>;

Matrices small_matrices(std::int64_t n) {
  const auto of = [&](at::ScalarType type) { return at::TensorOptions().dtype(type); };
  return {
      {"normal", at::randn({n, n}, of(at::kFloat))},
      {"normal, double", at::randn({n, n}, of(at::kDouble))},
      {"negative", at::randn({n, n}, of(at::kFloat)) - 100},
      {"few values", at::randint(3, {n, n}, of(at::kFloat))},
      {"equal", at::full({n, n}, 2.5, of(at::kFloat))},
      {"equal rows", at::randn({1, n}, of(at::kFloat)).expand({n, n}).contiguous()},
      {"equal columns", at::randn({n, 1}, of(at::kFloat)).expand({n, n}).contiguous()},
      {"two kinds of rows", at::randn({2, n}, of(at::kFloat)).repeat({n, 1}).narrow(0, 0, n).contiguous()},
      {"huge range", (at::randn({n, n}, of(at::kDouble)) * 50).exp()},
      {"huge range of both signs, float", at::randn({n, n}, of(at::kFloat)) * at::randint(2, {n, n}).mul(1e30).add(1)},
      {"near ties", at::randint(4, {n, n}, of(at::kDouble)) * std::ldexp(1, -30) + 1e6}};
}

TEST(Assignment, IsTheBestOfAllPermutations) {
  at::manual_seed(1);
  for (int repeat = 0; repeat < 8; ++repeat) {
    for (std::int64_t n = 2; n <= (repeat == 0 ? 7 : 6); ++n) {
      for (const auto& [name, matrix] : small_matrices(n)) {
        const Assignment assignment = solve_matrix(matrix);
        const double least = least_cost(matrix), scale = matrix.abs().max().item<double>();
        EXPECT_NEAR(assignment.cost, least, 1e-12 * scale) << name << " " << n;
        EXPECT_NEAR(cost_of(matrix, assignment.column_of_row), least, 1e-12 * scale) << name << " " << n;
        EXPECT_LE(relative_violation(matrix, assignment), 1e-12) << name << " " << n;
      }
    }
  }
}

TEST(Assignment, OfEqualCostsTakesTheLowestIndex) {
  std::vector<std::int32_t> identity(9);
  std::iota(identity.begin(), identity.end(), 0);
  EXPECT_EQ(solve_matrix(at::full({9, 9}, -3.0f)).column_of_row, identity);
  EXPECT_EQ(solve_matrix(at::arange(9, at::kFloat).unsqueeze(1).expand({9, 9}).contiguous()).column_of_row, identity);
}

TEST(Assignment, OfNothingAndOfOne) {
  EXPECT_TRUE(solve_assignment(std::span<const float>(), 0).column_of_row.empty());
  const Assignment one = solve_matrix(at::full({1, 1}, -7.5f));
  EXPECT_EQ(one.column_of_row, std::vector<std::int32_t>{0});
  EXPECT_EQ(one.cost, -7.5);
  EXPECT_EQ(relative_violation(at::full({1, 1}, -7.5f), one), 0);
}

// Prices fall by less and less here, and rounded for ever by nothing: what cycles in other programs.
TEST(Assignment, EndsWhereMinimaDifferByRoundingOnly) {
  at::manual_seed(2);
  const at::Tensor row = at::rand({300}, at::kDouble);
  for (const double step : {std::ldexp(1, -52), std::ldexp(1, -50), 1e-12}) {
    const at::Tensor matrix =
        row.unsqueeze(0) + at::rand({300, 1}, at::kDouble) + at::randn({300, 300}, at::kDouble) * step;
    const Assignment assignment = solve_matrix(matrix);
    EXPECT_LE(relative_violation(matrix, assignment), 1e-12) << step;
  }
}

TEST(Assignment, ProvesThatItIsOptimalByItsPrices) {
  at::manual_seed(3);
  for (const std::int64_t n : {256, 1024}) {
    const auto [images, noise] = images_and_noise(n, 784);
    for (const at::Tensor& matrix : {squared_distances(images, noise), -images.mm(noise.t())}) {
      Assignment assignment = solve_matrix(matrix);
      EXPECT_LE(relative_violation(matrix, assignment), 1e-9) << n;
      EXPECT_NEAR(assignment.cost, cost_of(matrix, assignment.column_of_row), 1e-9 * std::abs(assignment.cost));
      std::swap(assignment.column_of_row[3], assignment.column_of_row[7]);
      EXPECT_GT(relative_violation(matrix, assignment), 1e-6) << "two rows exchanged: no optimum any more";
    }
  }
}

TEST(Assignment, ACertificateIsOfAPermutation) {
  const at::Tensor matrix = at::eye(3);
  Assignment assignment = solve_matrix(matrix);
  assignment.column_of_row = {0, 1, 1};
  expect_error([&] { relative_violation(matrix, assignment); }, {"row 2", "column 1"});
}

TEST(Assignment, NamesTheEntryThatIsNotFinite) {
  for (const double bad :
       {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()}) {
    at::Tensor matrix = at::randn({20, 20});
    matrix[13][4] = bad;
    expect_error([&] { solve_matrix(matrix); }, {"row 13", "column 4", "20 rows"});
    expect_error([&] { solve_matrix(matrix.to(at::kDouble)); }, {"row 13", "column 4"});
  }
  at::Tensor large = at::randn({5, 5}, at::kDouble);
  large[0][2] = 1e200;
  expect_error([&] { solve_matrix(large); }, {"row 0", "column 2", "1e+200"});
  const std::vector<float> costs(5);
  expect_error([&] { solve_assignment(costs, 2); }, {"2 rows", "5 costs"});
}

TEST(Assignment, StopsWhenItIsAskedTo) {
  std::stop_source stop;
  stop.request_stop();
  const at::Tensor matrix = at::randn({50, 50});
  expect_error([&] { solve_assignment(values_of<float>(matrix), 50, stop.get_token()); }, {"unsolved"});
}

/// A tensor of one problem of the reference: "n64.x".
struct ReferenceProblem {
  const ReferenceFile& file;
  std::string name;

  const at::Tensor& operator[](const std::string& tensor) const { return file[name + "." + tensor]; }
  double value(const std::string& key) const {
    return nlohmann::json::parse(file.metadata.at(name)).at(key).get<double>();
  }
};

std::vector<ReferenceProblem> reference_problems(const ReferenceFile& file) {
  std::vector<ReferenceProblem> problems;
  for (const auto& [key, text] : file.metadata)
    if (file.has(key + ".cost_sq")) problems.push_back({file, key});
  return problems;
}

TEST(AssignmentReference, IsThatOfOtherPrograms) {
  const ReferenceFile file("assignment");
  const auto problems = reference_problems(file);
  ASSERT_FALSE(problems.empty());
  for (const ReferenceProblem& problem : problems) {
    const at::Tensor squares = problem["cost_sq"].contiguous(), lengths = squares.sqrt();
    const Assignment by_squares = solve_matrix(squares), by_lengths = solve_matrix(lengths);
    EXPECT_EQ(by_squares.column_of_row, integers(problem["assign_sq"])) << problem.name;
    EXPECT_NEAR(by_squares.cost, problem.value("optimum_sq"), 1e-12 * problem.value("optimum_sq"));
    EXPECT_EQ(by_lengths.column_of_row, integers(problem["assign_l2"])) << problem.name;
    EXPECT_NEAR(by_lengths.cost, problem.value("optimum_l2"), 1e-12 * problem.value("optimum_l2"));
    EXPECT_LE(relative_violation(squares, by_squares), 1e-12);
  }
}

TEST(AssignmentReference, PairsABatchAsOtherProgramsDo) {
  const ReferenceFile file("assignment");
  for (const ReferenceProblem& problem : reference_problems(file)) {
    const at::Tensor &x = problem["x"], &z = problem["z"], &label = problem["label"];
    EXPECT_LE(
        difference(squared_distances(x, z).to(at::kDouble) / problem["cost_sq"], at::ones_like(problem["cost_sq"])),
        1e-4);
    EXPECT_EQ(integers(transport_permutation(x, z, {})), integers(problem["assign_sq"])) << problem.name;
    EXPECT_EQ(integers(transport_permutation(x, z, label)), integers(problem["assign_within"])) << problem.name;
  }
}

TEST(BatchAssignment, NoiseStaysInItsPool) {
  at::manual_seed(4);
  const at::Tensor images = at::randn({60, 2, 3, 3}), noise = at::randn({60, 2, 3, 3});
  const at::Tensor pools = at::randint(7, {60}, at::kLong);
  const at::Tensor permutation = transport_permutation(images, noise, pools).to(at::kLong);
  EXPECT_TRUE(pools.index_select(0, permutation).equal(pools));
  EXPECT_TRUE(std::get<0>(permutation.sort()).equal(at::arange(60)));
  const at::Tensor alone = at::arange(60);
  EXPECT_TRUE(transport_permutation(images, noise, alone).equal(alone.to(at::kInt))) << "pools of one row";
}

TEST(BatchAssignment, IsTheSameOnAnyNumberOfThreads) {
  at::manual_seed(5);
  const auto [images, noise] = images_and_noise(300, 100);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = squared_distances(images, noise);
  at::set_num_threads(3);
  EXPECT_TRUE(squared_distances(images, noise).equal(one));
  at::set_num_threads(before);
}

TEST(BatchAssignment, NamesTheRowThatIsNotFinite) {
  at::Tensor images = at::randn({8, 1, 2, 2}), noise = at::randn({8, 1, 2, 2});
  noise[5][0][1][1] = std::nanf("");
  expect_error([&] { transport_permutation(images, noise, {}); }, {"noise 5", "8"});
  images[2][0][0][0] = std::numeric_limits<float>::infinity();
  expect_error([&] { transport_permutation(images, noise, {}); }, {"image 2", "8"});
  expect_error([&] { transport_permutation(images, noise.narrow(0, 0, 7), {}); }, {"8 images", "7 noises"});
}

}  // namespace
}  // namespace couplet::testing
