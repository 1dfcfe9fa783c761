// The trained parameters of a model and their gradients in a few flat tensors: what is done to all of them (reducing,
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
  bool decays = false;           ///< true: all have two or more dimensions; false: none has
  std::vector<Place> places;     ///< in reverse order of registration
  at::Tensor values, gradients;  ///< [n] each; what is between and behind the parameters is zero and stays so
};

struct BucketSizes {
  std::int64_t bytes = std::int64_t{4} << 20;  ///< about so many a bucket; a larger parameter has one of its own
  std::int64_t parts = 1;  ///< each bucket is padded to divide into so many equal parts of whole 64 bytes
};

/// Part number `index` of `count` equal ones.
struct Share {
  std::int64_t index = 0, count = 1;

  bool is_whole() const { return count == 1; }
  /// That part of a flat tensor, whose length `count` divides: a view.
  at::Tensor of(const at::Tensor& flat) const {
    const std::int64_t length = flat.numel() / count;
    return is_whole() ? flat : flat.narrow(0, index * length, length);
  }
};

/// While it lives, each trained parameter of the model and its .grad are views into buckets. Buckets stand in the order
/// in which a backward pass, which goes through the layers from last to first, is done with them. A backward pass adds
/// to the gradients; a parameter that it does not reach keeps what it has.
class FlatParameters {
public:
  /// The trained parameters are contiguous, of one floating-point type and on one device. Their values move.
  FlatParameters(const torch::nn::Module& model, const BucketSizes& sizes);
  /// Takes the parameters' .grad away. Their values stay where they are.
  ~FlatParameters();
  FlatParameters(const FlatParameters&) = delete;
  FlatParameters& operator=(const FlatParameters&) = delete;

  const std::vector<Bucket>& buckets() const { return buckets_; }
  void zero_gradients();
  /// Tensors laid out as the buckets, one for each, as named tensors: views by parameter name + `suffix`.
  NamedTensors named(const std::vector<at::Tensor>& flat, const std::string& suffix = "") const;
  /// The same of one bucket.
  static NamedTensors named(const Bucket& bucket, const at::Tensor& flat, const std::string& suffix = "");

private:
  std::vector<Bucket> buckets_;
};

}  // namespace couplet
