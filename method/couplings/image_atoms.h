// The images of a data set as the atoms of semidiscrete transport.
#pragma once

#include "method/data/codec.h"
#include "method/data/dataset.h"
#include "method/tables/dataset_rows.h"
#include "method/transport/semidiscrete.h"
#include "pipeline/distributed/communicator.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace couplet {

/// Every image, and where `flips` says so its mirror image behind it, is an atom. In one group, atom j is row j of that
/// numbering; in groups by class, those of the first class come first, each class in the order of its rows. Memory: 8
/// bytes an atom and 4 an image.
class ImageAtoms {
public:
  /// `images` stays open. Labels are read here.
  ImageAtoms(const RowTable& images, const DatasetShape& shape, bool flips, bool by_class);

  const AtomBlocks& blocks() const { return blocks_; }
  /// The row, in the order of samples and their mirror images, that each atom is.
  const std::vector<std::int64_t>& rows() const { return rows_; }
  CouplingRow image_of_row(std::int64_t row) const { return numbering_.at(row); }
  std::int32_t label(std::int64_t sample) const { return labels_[static_cast<std::size_t>(sample)]; }
  /// [C, H, W] of what models see, and how many values that are.
  const std::vector<std::int64_t>& image_shape() const { return image_shape_; }
  std::int64_t values() const;
  /// The images of a block as models see them, float32 [atoms, values].
  at::Tensor encoded(std::int64_t block) const;

private:
  CouplingRows numbering_;
  std::shared_ptr<const Codec> codec_;
  DatasetRows images_;
  std::vector<std::int32_t> labels_;  ///< of each sample
  std::vector<std::int64_t> rows_;
  std::vector<std::int64_t> image_shape_;
  AtomBlocks blocks_;
};

/// What is done to images, and to noise, before they are compared: the mean of an image's group is taken off, which
/// changes no choice and keeps numbers small, and both are projected on principal axes, if there are any. Noise that is
/// projected is standard normal again, so that potentials are learnt from noise of `dimension` values.
struct AtomProjection {
  at::Tensor means;  ///< float32 [groups, values]
  at::Tensor axes;   ///< float32 [values, dimension]; undefined: all values are compared
  double share = 1;  ///< of the images' squared distances from their means, along the axes

  std::int64_t dimension() const { return axes.defined() ? axes.size(1) : means.size(1); }
  at::Tensor points(const ImageAtoms& atoms, std::int64_t block) const;
  /// Noise [n, values] → [n, dimension].
  at::Tensor noise(const at::Tensor& noise) const;
};

/// The projection on `dimensions` axes; 0: on none. Rank 0 reads the data set, once, or twice where there are axes, and
/// computes for all, so that the bits do not depend on the ranks. Collective.
AtomProjection project_atoms(const ImageAtoms& atoms, std::int64_t dimensions, Communicator& communicator);

}  // namespace couplet
