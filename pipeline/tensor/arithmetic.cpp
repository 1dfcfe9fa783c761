#include "pipeline/tensor/arithmetic.h"

#include <ATen/Context.h>

#include <cstdlib>

namespace couplet {

void choose_gpu_arithmetic(const GpuArithmetic& wanted) {
  at::Context& context = at::globalContext();
  // This call keeps the two settings that LibTorch has for products equal; it refuses to go on where they differ.
  context.setAllowTF32CuBLAS(wanted.tf32);
  context.setFloat32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV,
                              wanted.tf32 ? at::Float32Precision::TF32 : at::Float32Precision::IEEE);
  context.setDeterministicCuDNN(wanted.reproducible);
  // Without warn_only: the fused attentions' backward passes take their repeatable form only then.
  context.setDeterministicAlgorithms(wanted.reproducible, /*warn_only=*/false);
  // It would fill every new tensor, on the CPU too, before it is written.
  context.setDeterministicFillUninitializedMemory(false);
  if (wanted.reproducible) ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
}

}  // namespace couplet
