// Everything that training changes, by parameter name, as a checkpoint holds it, whichever rank has which part of it.
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

/// The model's weights, their averages and the optimizer's state, which the ranks may share.
class TrainedState {
public:
  TrainedState(torch::nn::Module& model, const FlatParameters& parameters, AdamW& optimizer, std::vector<Ema>& emas,
               Communicator& communicator);

  /// Returns the files of a checkpoint in host memory of rank 0, and nothing on the other ranks. The next call uses the
  /// same memory. Collective.
  std::map<std::string, NamedTensors> host_copy();
  /// Restores a checkpoint, whatever number of ranks wrote it. Rank 0, which has it, gives the others bucket by bucket
  /// what they need of it. Collective.
  void restore(const Checkpoint& checkpoint);
  /// The buffers and the parameters that are not trained, which are the same in every file of weights.
  NamedTensors untrained() const;

private:
  NamedTensors weights_file(const std::string& name, const std::vector<at::Tensor>& flat, const NamedTensors& others);
  NamedTensors optimizer_file();
  /// Copies rank 0's files into the model, the averages and `host_memory`. On rank 0.
  void take(const Checkpoint& checkpoint);
  std::vector<at::Tensor>& host_memory(const std::string& name);

  torch::nn::Module& model_;
  const FlatParameters& parameters_;
  AdamW& optimizer_;
  std::vector<Ema>& emas_;
  Communicator& communicator_;
  std::map<std::string, std::vector<at::Tensor>> host_;  ///< on rank 0, laid out as the buckets, zero in between
};

/// Returns copies in host memory.
NamedTensors host_copies(const NamedTensors& tensors);

}  // namespace couplet
