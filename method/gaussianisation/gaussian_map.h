// Bijections T that make the noise of a coupling table more Gaussian, given the label. Students learn x ↔ T(z), and are
// sampled from N(0, I): nobody needs T's inverse. Which ones there are stands in members.list.
#pragma once

#include "method/gaussianisation/training_noise.h"
#include "method/models/tarflow.h"
#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// T(z) of rows, float64.
struct MappedNoise {
  at::Tensor z;        ///< [n, C, H, W]
  at::Tensor log_det;  ///< [n]: log |det ∂T/∂z|
};

class GaussianMap {
public:
  virtual ~GaussianMap() = default;
  /// z: float64 [n, C, H, W]; labels: int64 [n]. Several threads may ask at once.
  virtual MappedNoise operator()(const at::Tensor& z, const at::Tensor& labels) const = 0;
};

/// What [couple] and [gaussianiser] say of maps. A map may leave some of it unused.
struct GaussianMapOptions {
  std::vector<std::int64_t> shape;  ///< [C, H, W] of a row
  std::int64_t classes = 1;
  double affine_prior = 20;        ///< couple.affine-prior, rows
  bool affine_covariance = false;  ///< couple.affine-covariance = pooled
  std::int64_t rotation_layers = 4;
  std::int64_t rotation_rows = 0;  ///< of those that layers are fitted to and judged by; 0: all
  std::uint64_t seed = 0;
  TarFlowOptions flow = {};
  std::string section = "couple";  ///< what messages call the keys by

  std::int64_t values() const { return shape[0] * shape[1] * shape[2]; }
};

/// A member of the registry of maps (method/gaussianisation/members.list).
struct GaussianMapKind {
  std::string name;
  std::string help;                    ///< one line
  std::vector<std::string> keys = {};  ///< of [couple], on which its tables depend: "affine-prior"
  /// Refuses options that it cannot have, naming the keys, before any work; may be absent.
  void (*check)(const GaussianMapOptions& options) = nullptr;
  /// Learns the map of rows: what `make` makes it again of. The bits do not depend on the number of ranks, threads or
  /// on how rows are stored. Collective. Absent: the stage gaussianiser trains it, whose weights are its state.
  NamedTensors (*fit)(const TrainingNoise& rows, const GaussianMapOptions& options) = nullptr;
  std::shared_ptr<const GaussianMap> (*make)(const NamedTensors& state, const GaussianMapOptions& options,
                                             c10::Device device) = nullptr;
};

const std::vector<GaussianMapKind>& gaussian_map_kinds();
/// An unknown name is refused with the nearest.
const GaussianMapKind& find_gaussian_map(const std::string& name);

/// Nats of each row [n], float64, that it gains by a map: ln N(T(z); 0, I) + log |det ∂T/∂z| - ln N(z; 0, I). Their
/// mean over rows of q is KL(q ‖ N(0, I)) before the map less that behind it.
at::Tensor nats_gained(const at::Tensor& z, const MappedNoise& mapped);

}  // namespace couplet
