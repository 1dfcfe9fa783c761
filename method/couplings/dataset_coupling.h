// What couplings have in common that read the data set and no table.
#pragma once

#include "method/couplings/coupling.h"
#include "pipeline/loader/row_order.h"
#include "pipeline/loader/row_stream.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// Rows of a class, on average, that exchange their noise within it: with fewer there is hardly anything to exchange.
inline constexpr std::int64_t rows_of_a_class = 2;

/// Its rows are numbered, mirrored and visited as those of a table would be. Held-out images have fresh noise, a
/// function of the row, the same for all students of a run: a loss on them shows what the noises of training are worth
/// for those that a student is sampled from.
class DatasetCoupling : public Coupling {
public:
  explicit DatasetCoupling(const CouplingSources& sources);

  std::int64_t held_out_rows() const override { return test_.rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override;
  /// {"dataset": hash}.
  nlohmann::json provenance() const override { return {{"dataset", images_.content_hash()}}; }

protected:
  /// The images and labels of a step; their noise is left to the caller.
  Pairs read(const BatchRange& range);
  /// A further stream of the same rows in the same order, for another thread.
  std::unique_ptr<RowStream> stream(const std::vector<std::string>& columns) const;
  RowOrder order() const;
  /// Fails, naming a sample, where an image has a value that is not finite. `rows`: the images' numbers, int64 [n].
  void require_finite(const at::Tensor& images, const at::Tensor& rows) const;

  const RowTable& images() const { return images_; }
  const CouplingRows& numbering() const { return numbering_; }
  const Codec& codec() const { return *codec_; }
  /// [C, H, W] of an image and its noise.
  const std::vector<std::int64_t>& shape() const { return shape_; }

private:
  RowTable images_, test_;
  CouplingRows numbering_;
  std::shared_ptr<const Codec> codec_;
  std::int64_t block_rows_, window_blocks_;
  std::uint64_t seed_, held_out_seed_;
  std::vector<std::int64_t> shape_;
  RowStream rows_;
};

}  // namespace couplet
