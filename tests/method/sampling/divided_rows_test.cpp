// Where a GPU's memory does not hold all rows at once, samples and likelihoods are those of all rows at once. The
// memory is a stand-in.
#include "method/models/tarflow.h"
#include "method/sampling/guided_field.h"
#include "method/sampling/teacher_sampler.h"
#include "method/solvers/fixed_step.h"
#include "method/solvers/likelihood.h"
#include "pipeline/tensor/fitting_rows.h"
#include "tests/method/velocity_student.h"
#include "tests/pipeline/limited_memory.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

namespace couplet {
namespace {

constexpr std::int64_t rows = 13;

class DividedRows : public ::testing::Test {
protected:
  void SetUp() override {
    torch::manual_seed(1);
    x = torch::randn({rows, 1, 8, 8});
    y = torch::arange(rows).remainder(3);
  }
  /// What `compute` makes in `bytes` of memory; it is divided, into no fewer rows than `fewest`.
  template <class Compute>
  static at::Tensor in_memory(std::int64_t bytes, std::int64_t fewest, Compute compute) {
    LimitedMemory memory(bytes);
    const FittingRows fitting(&memory, 0, "rows");
    const at::Tensor made = compute();
    EXPECT_EQ(fitting.fewest(), fewest);
    return made;
  }
  /// The bytes of rows at once.
  template <class Compute>
  static std::int64_t bytes_of(Compute compute) {
    return measured_memory(at::kCPU, 1)->peak_bytes([&] { compute(); });
  }
  at::Tensor x, y;
};

void expect_close(const at::Tensor& made, const at::Tensor& expected) {
  ASSERT_EQ(made.sizes(), expected.sizes());
  EXPECT_TRUE(made.allclose(expected, 1e-4, 1e-5)) << (made - expected).abs().max().item<double>();
}

TarFlow small_teacher() {
  TarFlow teacher = make_tarflow({.image_size = 8, .channels = 32, .blocks = 2, .head_size = 16, .num_classes = 3}, 1);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : teacher->parameters()) parameter.add_(torch::randn_like(parameter), 0.05);
  teacher->eval();
  return teacher;
}

TEST_F(DividedRows, TeachersSamples) {
  TarFlow teacher = small_teacher();
  const auto sample = [&] {
    const torch::NoGradGuard no_grad;
    return sample_teacher(teacher, x, {y, {}}, {.noise = {.standard_deviation = 0.3}}).images();
  };
  const auto denoised = [&](std::int64_t count) {
    denoise(teacher, x.narrow(0, 0, count), y.narrow(0, 0, count), 0.3);
  };
  // Room for five rows and a half, of which nine tenths are used.
  const std::int64_t room =
      bytes_of([&] { denoised(5); }) + (bytes_of([&] { denoised(6); }) - bytes_of([&] { denoised(5); })) / 2;
  expect_close(in_memory(room * 10 / 9, 4, sample), sample());
}

TEST_F(DividedRows, StudentsSamplesAndLikelihood) {
  const StudentModel student = testing::velocity_student(
      find_field("sit").make({.image_size = 8, .num_classes = 3, .channels = 32, .depth = 1}, 1));
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : student.field->parameters()) parameter.add_(torch::randn_like(parameter), 0.05);
  }
  const StudentFlow flow(student, {.scale = 2}, "float32");
  const auto velocity = [&](std::int64_t count) {
    const torch::NoGradGuard no_grad;
    return flow.velocity({y.narrow(0, 0, count), {}})(x.narrow(0, 0, count), 0.5);
  };
  const auto sample = [&] { return solve(flow.velocity({y, {}}), x, Solver::euler, Grid::uniform, 2); };
  const std::int64_t room = bytes_of([&] { velocity(3); });
  expect_close(in_memory(room * 10 / 9, 2, sample), sample());

  const at::Tensor probes = torch::randn({1, rows, 1, 8, 8}).sign();
  const FieldOfRows field_of = [&](std::int64_t first, std::int64_t count) {
    return flow.velocity({y.narrow(0, first, count), {}});
  };
  const auto likelihood = [&] { return flow_likelihood(field_of, x, {1e-4, 1e-4}, probes).nats; };
  LimitedMemory memory(0);
  at::Tensor divided;
  {
    const FittingRows three(&memory, 3, "rows");
    divided = likelihood();
    EXPECT_EQ(three.fewest(), 3);
  }
  expect_close(divided, likelihood());
}

}  // namespace
}  // namespace couplet
