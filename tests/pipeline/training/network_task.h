// A small transformer for tests of what must be equal bit by bit: matrix products, attention, a buffer that learns the
// mean of a figure over the batch.
#pragma once

#include "pipeline/tensor/transformer_ops.h"
#include "tests/pipeline/training/regression_task.h"

#include <torch/nn/modules/linear.h>

namespace couplet {

constexpr std::int64_t width = 48, tokens = 4, heads = 3;

/// [rows, inputs] to [rows, outputs].
struct Network : torch::nn::Module {
  Network() {
    torch::manual_seed(5);
    enter = register_module("enter", torch::nn::Linear(inputs, tokens * width));
    qkv = register_module("qkv", torch::nn::Linear(width, 3 * width));
    mlp = register_module("mlp", torch::nn::Linear(width, 4 * width));
    leave = register_module("leave", torch::nn::Linear(tokens * 4 * width, outputs));
    spread = register_buffer("spread", at::ones({width}));
  }
  at::Tensor forward(const at::Tensor& x) {
    const auto rows = x.size(0);
    const auto entered = linear(x, enter).view({rows, tokens, width});
    const auto parts = linear(entered, qkv).view({rows, tokens, 3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
    const auto mixed = attention(parts[0], parts[1], parts[2], /*causal=*/true).transpose(1, 2);
    const auto hidden = entered + mixed.reshape({rows, tokens, width});
    mean_square = hidden.detach().square().mean(at::IntArrayRef{0, 1});
    return linear(at::gelu(linear(hidden, mlp)).reshape({rows, -1}), leave);
  }

  torch::nn::Linear enter{nullptr}, qkv{nullptr}, mlp{nullptr}, leave{nullptr};
  at::Tensor spread, mean_square;
};

inline TrainingTask network_task(const std::filesystem::path& directory, Network& model, std::int64_t steps) {
  Regression unused(1);
  TrainingTask task = regression_task(directory, unused, steps, /*batch=*/96);
  task.training.ema = {0.9, 0.5};
  task.after_step = {};
  task.loss = [&model](const Batch& rows) { return at::mse_loss(model.forward(rows[0]), rows[1]); };
  task.batch_mean = BatchMean{[&model] { return model.mean_square; },
                              [&model](const at::Tensor& mean) { model.spread.lerp_(mean.to(at::kFloat), 0.1); }};
  return task;
}

}  // namespace couplet
