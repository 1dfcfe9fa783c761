// Everything that training changes, as a checkpoint holds it: by parameter name, whoever holds which part of it.
#pragma once

#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/optimizer/adamw.h"
#include "pipeline/optimizer/ema.h"
#include "pipeline/optimizer/flat_parameters.h"

#include <map>
#include <string>
#include <vector>

namespace couplet {

/// The model's weights, their averages and the optimizer's state, over all ranks.
class TrainedState {
public:
  TrainedState(torch::nn::Module& model, const FlatParameters& parameters, AdamW& optimizer, std::vector<Ema>& emas,
               Communicator& communicator);

  /// The files of a checkpoint, in host memory of rank 0 (nothing on the others); the next call uses the same memory.
  /// Collective.
  std::map<std::string, NamedTensors> host_copy();
  /// Takes a checkpoint up, whatever number of ranks wrote it.
  void restore(const Checkpoint& checkpoint);
  /// Buffers and parameters that are not trained: they are the same in every file of weights.
  NamedTensors untrained() const;

private:
  NamedTensors weights_file(const std::string& name, const std::vector<at::Tensor>& flat, const NamedTensors& others);
  NamedTensors optimizer_file();
  at::Tensor whole(const at::Tensor& share, const Bucket& bucket);
  std::vector<at::Tensor>& host_memory(const std::string& name);

  torch::nn::Module& model_;
  const FlatParameters& parameters_;
  AdamW& optimizer_;
  std::vector<Ema>& emas_;
  Communicator& communicator_;
  std::map<std::string, std::vector<at::Tensor>> host_;  ///< of rank 0: laid out as the buckets
};

/// Independent copies in host memory.
NamedTensors host_copies(const NamedTensors& tensors);

}  // namespace couplet
