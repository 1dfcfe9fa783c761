// Tensors that one rank reads and all use: the file system is asked for them once.
#pragma once

#include "pipeline/distributed/communicator.h"
#include "pipeline/tensor/weights.h"

#include <c10/core/Device.h>

#include <filesystem>

namespace couplet {

/// Returns rank 0's tensors on every rank, in host memory; what the others give does not count. Collective.
NamedTensors broadcast_tensors(const NamedTensors& tensors, Communicator& communicator);

/// Gives a model's parameters and buffers rank 0's values on every rank. They may lie on any device. Collective.
void broadcast_weights(const torch::nn::Module& model, Communicator& communicator);

/// Gives a model the weights of a file, which rank 0 reads for all, and puts it on a device. Collective.
void load_for_all(torch::nn::Module& model, const std::filesystem::path& path, c10::Device device,
                  Communicator& communicator);

/// Returns a network with the weights of a file, on a device, ready to be used rather than trained. Collective.
template <class Network>
Network with_weights(Network network, const std::filesystem::path& path, c10::Device device,
                     Communicator& communicator) {
  load_for_all(*network, path, device, communicator);
  network->eval();
  return network;
}

}  // namespace couplet
