// A rank's rows on the threads of a CPU: each thread takes a part of them through the model and back, on its own. Steps
// are quicker by this than by operations that are split among the threads (docs/benchmarks.md).
#pragma once

#include "pipeline/optimizer/flat_parameters.h"
#include "pipeline/training/task.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <torch/nn/module.h>

#include <cstdint>

namespace couplet {

/// The parts that `rows` rows are divided into, one a thread: 1, which stands for operations that are split, on a GPU;
/// where the task has a batch mean, of which there is one at a time; and where the parts' gradients of the model would
/// take more than 256 MiB.
std::int64_t thread_parts(const TrainingTask& task, const torch::nn::Module& model, std::int64_t rows,
                          c10::Device device);

/// The gradient of `weight` times the mean loss over the rows is added to the parameters' .grad: the gradients of the
/// parts in their order, so that equal numbers of parts give equal bits. Returns the mean loss.
at::Tensor forward_backward(const TrainingTask& task, const Batch& rows, double weight, std::int64_t parts,
                            const FlatParameters& parameters, c10::Device device);

}  // namespace couplet
