// How LibTorch computes on a GPU, for the whole process.
#pragma once

#include <cstdint>

namespace couplet {

struct GpuArithmetic {
  bool tf32 = false;          ///< pipeline.tf32
  bool reproducible = false;  ///< pipeline.reproducible
};

/// Sets whether float32 products and convolutions may round their
/// factors to TF32, and whether LibTorch, cuBLAS and cuDNN keep to algorithms that give the same bits each time (an
/// operation that has none is an error). It must come before the process's first tensor on a GPU and before its
/// threads: cuBLAS reads the environment, which this changes (CUBLAS_WORKSPACE_CONFIG). For processes with a GPU only:
/// a CPU repeats its bits without, and some of its operations would change.
void choose_gpu_arithmetic(const GpuArithmetic& wanted);

/// The size of a bucket of gradients in bytes: `mebibytes` (pipeline.bucket-size), or where that is 0 what suits the
/// device. A message over NCCL costs more to start and less a byte than one over MPI.
std::int64_t bucket_bytes(double mebibytes, bool on_gpu);

}  // namespace couplet
