// A perceptron over all values of a row at once: for points of the plane, and for images so small that nothing is
// gained by knowing which pixels are neighbours. The flow-matching paper (arXiv 2210.02747) has one of 5 layers of 512
// units for its 2-D examples.
#pragma once

#include "method/models/field.h"
#include "method/models/span_embedding.h"

#include <ATen/core/Tensor.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace couplet {

/// Its first layer sees the values of x, those of the condition's image, the time and waves of it, and adds a vector of
/// the class, and of the span where it sees one; SiLU follows each hidden layer. Starts as the zero field. Parameters:
/// `hidden.0` …, `label_emb`, `out`.
class Mlp : public Field {
public:
  explicit Mlp(const FieldOptions& options);

  /// Labels: num_classes or a negative number is no label.
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override;
  std::int64_t no_label() const override { return options_.num_classes; }
  double forward_flops() const override;
  std::int64_t activation_values() const override;
  std::map<std::string, std::string> sizes() const override;

private:
  FieldOptions options_;
  std::vector<torch::nn::Linear> hidden_;
  torch::nn::Embedding labels_{nullptr};
  SpanEmbedding spans_{nullptr};
  torch::nn::Linear out_{nullptr};
};

}  // namespace couplet
