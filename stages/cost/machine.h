// The machine that the model of scaling assumes: figures that `couplet submit --machine` sets.
#pragma once

#include <string>

namespace couplet {

/// Of H100 and H200 nodes with a network card a GPU. docs/scaling.md says where the figures are from.
struct Machine {
  double bfloat16 = 989e12, float32 = 67e12;  ///< peak of a GPU's matrix products, FLOP/s
  double utilisation = 0.4;                   ///< share of the peak that stages reach where batches are large
  double memory_bandwidth = 3.35e12;          ///< of a GPU, bytes/s
  double kernel = 5e-6;                       ///< seconds that the shortest operation takes
  double gpus = 8;                            ///< of a node
  double node_bandwidth = 360e9;              ///< at which a GPU sends to others of its node, bytes/s
  double network_bandwidth = 45e9;            ///< of its card, to other nodes
  double latency = 12e-6;                     ///< of a step of a collective between GPUs, seconds
  double host_latency = 5e-6;                 ///< of one between hosts
  double filesystem = 200e9;                  ///< that the file system reads or writes for all nodes, bytes/s
  double client = 10e9;                       ///< for one node
  double writer = 1.5e9;                      ///< for one process
  double opens = 20e3;                        ///< opens a second, of all nodes
  double open_latency = 1e-3;                 ///< of one, seconds
  double host_copy = 20e9;                    ///< from a GPU to its host, bytes/s
  double start = 30;                          ///< until a job's ranks have started, seconds
};

/// The machine with what "network-bandwidth=25e9 gpus=4" sets. An unknown name, or what is no finite positive
/// number, is refused, and so are a share above 1 and part of a GPU.
Machine parse_machine(const std::string& words);
/// "gpus=8 ...": all figures, as parse_machine takes them.
std::string machine_text(const Machine& machine);

}  // namespace couplet
