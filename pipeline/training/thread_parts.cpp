#include "pipeline/training/thread_parts.h"

#include "pipeline/tensor/autocast.h"
#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t most_bytes_of_parts = std::int64_t{256} << 20;

at::Tensor loss_of(const TrainingTask& task, const Batch& rows, c10::Device device) {
  const Autocast autocast(task.training.precision, device);
  return task.loss(rows);
}

std::vector<at::Tensor> trained_tensors(const FlatParameters& parameters) {
  std::vector<at::Tensor> all;
  for (const Bucket& bucket : parameters.buckets())
    for (const Bucket::Place& place : bucket.places) all.push_back(place.parameter);
  return all;
}

/// What one part of the rows gives.
struct PartResult {
  at::Tensor loss;                    ///< its share of the mean
  std::vector<at::Tensor> gradients;  ///< undefined of parameters that the pass does not reach
};

void add_gradients(const std::vector<at::Tensor>& trained, const std::vector<PartResult>& parts) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < trained.size(); ++i) {
    at::Tensor sum = trained[i].grad();
    for (const PartResult& part : parts)
      if (part.gradients[i].defined()) sum.add_(part.gradients[i]);
  }
}

}  // namespace

std::int64_t thread_parts(const TrainingTask& task, const torch::nn::Module& model, std::int64_t rows,
                          c10::Device device) {
  if (!device.is_cpu() || task.batch_mean) return 1;
  std::int64_t gradient_bytes = 0;
  for (const at::Tensor& parameter : model.parameters())
    if (parameter.requires_grad()) gradient_bytes += static_cast<std::int64_t>(parameter.nbytes());
  const std::int64_t parts = std::min<std::int64_t>(at::get_num_threads(), rows);
  return parts * gradient_bytes <= most_bytes_of_parts ? std::max<std::int64_t>(parts, 1) : 1;
}

at::Tensor forward_backward(const TrainingTask& task, const Batch& rows, double weight, std::int64_t parts,
                            const FlatParameters& parameters, c10::Device device) {
  const std::int64_t count = rows.front().size(0);
  parts = std::min(parts, count);
  if (parts == 1) {
    const at::Tensor loss = loss_of(task, rows, device);
    loss.backward(weight == 1 ? at::Tensor() : at::full_like(loss, weight));
    return loss.detach();
  }
  const std::vector<at::Tensor> trained = trained_tensors(parameters);
  std::vector<PartResult> results(static_cast<std::size_t>(parts));
  each_on_one_thread(parts, device, [&](std::int64_t part) {
    const std::int64_t first = part * count / parts, end = (part + 1) * count / parts;
    const double share = static_cast<double>(end - first) / static_cast<double>(count);
    Batch of_part;
    for (const at::Tensor& tensor : rows) of_part.push_back(tensor.narrow(0, first, end - first).clone());
    const at::Tensor loss = loss_of(task, of_part, device);
    PartResult& result = results[static_cast<std::size_t>(part)];
    result.gradients = torch::autograd::grad({loss}, trained, {at::full_like(loss, weight * share)}, std::nullopt,
                                             /*create_graph=*/false, /*allow_unused=*/true);
    result.loss = loss.detach() * share;
  });
  add_gradients(trained, results);
  at::Tensor loss = results.front().loss;
  for (std::size_t part = 1; part < results.size(); ++part) loss = loss + results[part].loss;
  return loss;
}

}  // namespace couplet
