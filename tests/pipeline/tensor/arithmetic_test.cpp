#include "pipeline/tensor/arithmetic.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace couplet {
namespace {

TEST(GpuArithmetic, Float32IsFloat32UnlessTf32IsAskedFor) {
  const at::Context& context = at::globalContext();
  for (const bool tf32 : {false, true, false}) {
    choose_gpu_arithmetic({.tf32 = tf32, .reproducible = false});
    // What LibTorch asks before a product and before a convolution; either throws where its two settings disagree.
    EXPECT_EQ(context.allowTF32CuBLAS(), tf32);
    EXPECT_EQ(context.allowTF32CuDNN(at::Float32Op::CONV), tf32);
  }
}

TEST(GpuArithmetic, ReproducibleRunsTakeRepeatableAlgorithmsOnly) {
  const at::Context& context = at::globalContext();
  unsetenv("CUBLAS_WORKSPACE_CONFIG");
  choose_gpu_arithmetic({});
  EXPECT_FALSE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.deterministicCuDNN());
  EXPECT_EQ(std::getenv("CUBLAS_WORKSPACE_CONFIG"), nullptr);
  choose_gpu_arithmetic({.tf32 = false, .reproducible = true});
  EXPECT_TRUE(context.deterministicAlgorithms());
  EXPECT_FALSE(context.deterministicAlgorithmsWarnOnly());  // fused attention repeats its bits only without
  EXPECT_TRUE(context.deterministicCuDNN());
  EXPECT_EQ(std::string(std::getenv("CUBLAS_WORKSPACE_CONFIG")), ":4096:8");
}

}  // namespace
}  // namespace couplet
