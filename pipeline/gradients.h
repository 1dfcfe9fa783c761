// The gradients of all trained parameters in flat buffers: one all-reduce and one norm instead of one a parameter,
// without copies.
#pragma once

#include "pipeline/communicator.h"
#include "pipeline/weights.h"

#include <vector>

namespace couplet {

/// One flat buffer for each element type; each parameter's .grad is a view into it, which backward adds to. A parameter
/// that a backward pass does not reach keeps the gradient zero. Views start at multiples of 64 bytes; the gaps between
/// them are zero.
class FlatGradients {
public:
  /// `parameters` are contiguous and keep their place for this object's lifetime; the destructor takes their .grad
  /// away.
  explicit FlatGradients(const NamedTensors& parameters);
  ~FlatGradients();
  FlatGradients(const FlatGradients&) = delete;
  FlatGradients& operator=(const FlatGradients&) = delete;

  void zero();
  /// The sum over ranks, in place. Collective.
  void sum_over_ranks(Communicator& communicator);
  /// Euclidean norm over all parameters.
  double norm() const;

private:
  NamedTensors parameters_;
  std::vector<at::Tensor> buffers_;
};

}  // namespace couplet
