// Samples that all ranks make together, in order, a slice at a time: memory for two slices a rank, whatever their
// number.
#pragma once

#include "method/data/codec.h"
#include "method/solvers/integration.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/process/log.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace couplet {

/// What is known of the samples so far.
struct SampleTally {
  std::int64_t samples = 0;
  std::int64_t nonfinite = 0;                ///< samples with NaN or infinite values
  std::int64_t first_nonfinite = -1;         ///< the first of them
  std::int64_t evaluations = 0;              ///< of the field, over all samples
  std::int64_t nfe_least = 0, nfe_most = 0;  ///< of any slice
  double nfe_mean() const { return static_cast<double>(evaluations) / static_cast<double>(samples); }
};

class SampleStream {
public:
  /// Makes samples [first, first + count) as models see them: float [count, ...].
  using Maker = std::function<Integrated(std::int64_t first, std::int64_t count)>;

  /// `samples` images of shape [C, H, W], decoded by the codec. Every slice is made with `slice_rows` rows, the last
  /// one too: a sample's digits depend neither on how many there are nor on the ranks, which take the slices in turn.
  SampleStream(std::int64_t samples, std::int64_t slice_rows, std::vector<std::int64_t> image_shape, Maker make,
               std::shared_ptr<const Codec> codec, Communicator& communicator);

  bool done() const { return tally_.samples == samples_; }
  /// Collective. The next slice's images on every rank, on the CPU: uint8 [n, C, H, W], rounded and clamped; values
  /// that are not finite have become black or white and are counted. Says how far it has come every few seconds. A
  /// request to stop is an error (status 1): nothing is kept.
  at::Tensor next();

  std::int64_t samples() const { return samples_; }
  std::int64_t slice_rows() const { return slice_rows_; }
  const std::vector<std::int64_t>& image_shape() const { return image_shape_; }
  const SampleTally& tally() const { return tally_; }

private:
  void make_round();
  void count(const at::Tensor& facts, std::int64_t rows);

  std::int64_t samples_, slice_rows_;
  std::vector<std::int64_t> image_shape_;
  Maker make_;
  std::shared_ptr<const Codec> codec_;
  Communicator& communicator_;
  int turn_ = 0;      ///< the rank whose slice is next; 0: a new round
  at::Tensor mine_;   ///< this rank's slice of the round
  at::Tensor facts_;  ///< int64 [ranks, ...]: what is known of the round's slices
  SampleTally tally_;
  Progress progress_;
};

}  // namespace couplet
