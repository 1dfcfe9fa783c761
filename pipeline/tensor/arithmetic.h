// How LibTorch computes on a GPU, for the whole process.
#pragma once

namespace couplet {

struct GpuArithmetic {
  bool tf32 = false;          ///< float32 products and convolutions may round their factors to TF32
  bool reproducible = false;  ///< only algorithms that give the same bits each time; an operation without is an error
};

/// Sets LibTorch, cuBLAS and cuDNN accordingly. It must come before the process's first tensor on a GPU and before its
/// threads: cuBLAS reads the environment, which this changes (CUBLAS_WORKSPACE_CONFIG). For processes with a GPU only:
/// a CPU repeats its bits without, and some of its operations would change.
void choose_gpu_arithmetic(const GpuArithmetic& wanted);

}  // namespace couplet
