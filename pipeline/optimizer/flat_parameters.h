// The trained parameters of a model and their gradients in a few flat tensors. What is done to all of them (reducing,
// updating, averaging, copying) is done to few large tensors, without copies.
#pragma once

#include "pipeline/tensor/weights.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// Parameters that are stored one after the other, reduced together and updated together.
struct Bucket {
  /// Where a parameter stands in the flat tensors.
  struct Place {
    std::string name;
    at::Tensor parameter;
    std::int64_t first = 0;  ///< a multiple of 64 bytes
  };
  bool decays = false;           ///< all parameters have two or more dimensions; if false, none has
  std::vector<Place> places;     ///< in reverse order of registration
  at::Tensor values, gradients;  ///< [n] each; values between and behind the parameters are zero and stay so
};

/// The size of a bucket: `mebibytes`, or where that is 0 what suits the device. A message over NCCL costs more to start
/// and less a byte than one over MPI.
std::int64_t bucket_bytes(double mebibytes, bool on_gpu);

struct BucketSizes {
  std::int64_t bytes = std::int64_t{4} << 20;  ///< about, of a bucket; a larger parameter has a bucket of its own
  std::int64_t parts = 1;  ///< a bucket is padded so that it divides into so many equal parts of whole 64 bytes
};

/// Part number `index` of `count` equal parts of a flat tensor.
struct Share {
  std::int64_t index = 0, count = 1;

  bool is_whole() const { return count == 1; }
  /// Returns that part of a tensor, whose length `count` divides, as a view.
  at::Tensor of(const at::Tensor& flat) const {
    const std::int64_t length = flat.numel() / count;
    return is_whole() ? flat : flat.narrow(0, index * length, length);
  }
};

/// While it lives, each trained parameter of the model and its .grad are views into buckets. The buckets stand in the
/// order in which a backward pass, which goes through the layers from last to first, is done with them. A backward pass
/// adds to the gradients; a parameter that it does not reach keeps the gradient that it has.
class FlatParameters {
public:
  /// Moves the values of the trained parameters, which must be contiguous, of one floating-point type and on one
  /// device.
  FlatParameters(const torch::nn::Module& model, const BucketSizes& sizes);
  /// Takes the parameters' .grad away. Their values stay in the buckets.
  ~FlatParameters();
  FlatParameters(const FlatParameters&) = delete;
  FlatParameters& operator=(const FlatParameters&) = delete;

  const std::vector<Bucket>& buckets() const { return buckets_; }
  void zero_gradients();
  /// Returns views, by parameter name + `suffix`, into tensors that are laid out as the buckets, one for each.
  NamedTensors named(const std::vector<at::Tensor>& flat, const std::string& suffix = "") const;
  /// The same for one bucket.
  static NamedTensors named(const Bucket& bucket, const at::Tensor& flat, const std::string& suffix = "");

private:
  std::vector<Bucket> buckets_;
};

}  // namespace couplet
