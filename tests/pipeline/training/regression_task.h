// A small regression for the trainer's tests: gradients have a closed form, batches are a function of the position in
// the run.
#pragma once

#include "pipeline/tensor/random.h"
#include "pipeline/training/task.h"

#include <ATen/ATen.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace couplet {

constexpr std::int64_t inputs = 6, outputs = 4;

/// y = x Wᵀ + b; with parameters that no loss reaches and a buffer that counts updates.
struct Regression : torch::nn::Module {
  explicit Regression(std::uint64_t seed) {
    const auto values = [&](at::IntArrayRef shape, std::uint64_t index) {
      at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
      fill_normal({tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())}, seed,
                  Purpose::initial_weights, index);
      return tensor;
    };
    weight = register_parameter("weight", values({outputs, inputs}, 0));
    bias = register_parameter("bias", values({outputs}, 1));
    unused = register_parameter("unused", values({3}, 2));
    updates = register_buffer("updates", at::zeros({1}));
  }
  at::Tensor forward(const at::Tensor& x) const { return at::linear(x, weight, bias); }

  at::Tensor weight, bias, unused, updates;
};

/// Rows [first, first + count) of the run: x [count, inputs], y [count, outputs], the position [count].
inline Batch regression_rows(std::int64_t first, std::int64_t count) {
  at::Tensor x = at::empty({count, inputs}, at::TensorOptions().dtype(at::kFloat)),
             y = at::empty({count, outputs}, at::kFloat);
  at::Tensor position = at::arange(first, first + count, at::kLong);
  for (std::int64_t row = 0; row < count; ++row) {
    const auto index = static_cast<std::uint64_t>(first + row);
    fill_normal({x.mutable_data_ptr<float>() + row * inputs, inputs}, 7, Purpose::teacher_noise, index);
    fill_normal({y.mutable_data_ptr<float>() + row * outputs, outputs}, 7, Purpose::student_noise, index);
  }
  return {x, y, position};
}

inline TrainingTask regression_task(const std::filesystem::path& directory, Regression& model, std::int64_t steps,
                                    std::int64_t batch = 12) {
  TrainingTask task;
  task.name = "teacher";
  task.directory = directory;
  task.training = {.images = steps * batch,
                   .batch = batch,
                   .learning_rate = 0.05,
                   .final_learning_rate = 0.001,
                   .warmup = 2,
                   .weight_decay = 0.1,
                   .clip = 0.5,
                   .ema = {0.9},
                   .precision = "float32"};
  task.provenance = {{"teacher", {{"channels", 64}}}, {"dataset", "abc"}};
  task.batch = [](const BatchRange& range) { return regression_rows(range.first, range.rows); };
  task.loss = [&model](const Batch& rows) { return at::mse_loss(model.forward(rows[0]), rows[1]); };
  task.after_step = [&model](const Batch&) { model.updates.add_(1); };
  return task;
}

inline PipelineConfig regression_pipeline(std::int64_t checkpoint_every) {
  PipelineConfig pipeline;
  pipeline.checkpoint_every = checkpoint_every;
  pipeline.keep_checkpoints = 2;
  pipeline.log_every = 3600;
  pipeline.bucket_size = 1e-6;  // a bucket a parameter
  return pipeline;
}

}  // namespace couplet
