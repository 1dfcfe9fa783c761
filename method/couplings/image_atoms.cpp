#include "method/couplings/image_atoms.h"

#include "method/transport/principal_axes.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <numeric>
#include <span>

namespace couplet {
namespace {

std::vector<std::int32_t> labels_of(const RowTable& images) {
  std::vector<std::int32_t> labels(static_cast<std::size_t>(images.rows()));
  images.read(images.column("label"), 0, images.rows(), std::as_writable_bytes(std::span(labels)));
  return labels;
}

std::vector<std::int64_t> seen_shape(const RowTable& images, const Codec& codec) {
  return codec.encode(read_rows(images, "image", 0, 1)).sizes().slice(1).vec();
}

/// Atoms in each group.
std::vector<std::int64_t> group_sizes(const CouplingRows& numbering, const std::vector<std::int32_t>& labels,
                                      const DatasetShape& shape, bool by_class) {
  if (!by_class) return {numbering.rows()};
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(shape.labels()), 0);
  const std::int64_t rows_of_image = numbering.rows() / std::max<std::int64_t>(numbering.samples, 1);
  for (std::size_t sample = 0; sample < labels.size(); ++sample) {
    if (labels[sample] < 0 || labels[sample] >= std::ssize(sizes))
      fail("image {} has label {}; expected 0 to {}", sample, labels[sample], std::ssize(sizes) - 1);
    sizes[static_cast<std::size_t>(labels[sample])] += rows_of_image;
  }
  return sizes;
}

}  // namespace

ImageAtoms::ImageAtoms(const RowTable& images, const DatasetShape& shape, bool flips, bool by_class)
    : numbering_{images.rows(), flips, 1},
      codec_(shape.codec),
      images_(images, numbering_, atoms_a_block),
      labels_(labels_of(images)),
      rows_(static_cast<std::size_t>(numbering_.rows())),
      image_shape_(seen_shape(images, *shape.codec)),
      blocks_(group_sizes(numbering_, labels_, shape, by_class)) {
  std::iota(rows_.begin(), rows_.end(), std::int64_t{0});
  if (by_class) std::ranges::stable_sort(rows_, {}, [&](std::int64_t row) { return label(numbering_.at(row).sample); });
}

std::int64_t ImageAtoms::values() const {
  return c10::multiply_integers(image_shape_);
}

at::Tensor ImageAtoms::encoded(std::int64_t index) const {
  const AtomBlocks::Block& block = blocks_.block(index);
  const std::size_t column = images_.column("image"), row_bytes = images_.columns()[column].row_bytes();
  const at::Tensor stored = empty_rows(images_.columns()[column], block.atoms);
  std::vector<std::byte*> places;
  for (std::int64_t i = 0; i < block.atoms; ++i)
    places.push_back(static_cast<std::byte*>(stored.mutable_data_ptr()) + static_cast<std::size_t>(i) * row_bytes);
  const std::span<const std::int64_t> rows(rows_.data() + block.first, static_cast<std::size_t>(block.atoms));
  images_.gather(column, rows, places);
  return codec_->encode(stored).flatten(1);
}

at::Tensor AtomProjection::points(const ImageAtoms& atoms, std::int64_t block) const {
  const OneThread one_thread;
  const at::Tensor centred = atoms.encoded(block) - means[atoms.blocks().block(block).group];
  return axes.defined() ? centred.mm(axes) : centred;
}

at::Tensor AtomProjection::noise(const at::Tensor& noise) const {
  constexpr std::int64_t rows_a_product = 256;
  if (!axes.defined()) return noise;
  return by_row_chunks(
      noise.size(0), at::kCPU,
      [&](std::int64_t first, std::int64_t count) { return noise.narrow(0, first, count).mm(axes); }, rows_a_product);
}

namespace {

/// Float32 [groups, values]; 0 for groups without atoms.
at::Tensor group_means(const ImageAtoms& atoms) {
  const OneThread one_thread;
  const AtomBlocks& blocks = atoms.blocks();
  at::Tensor sums = at::zeros({blocks.groups(), atoms.values()}, at::kDouble);
  for (std::int64_t block = 0; block < blocks.blocks(); ++block)
    sums[blocks.block(block).group].add_(atoms.encoded(block).to(at::kDouble).sum(0));
  for (std::int64_t group = 0; group < blocks.groups(); ++group)
    if (blocks.size_of(group) > 0) sums[group].div_(static_cast<double>(blocks.size_of(group)));
  return sums.to(at::kFloat);
}

}  // namespace

AtomProjection project_atoms(const ImageAtoms& atoms, std::int64_t dimensions, Communicator& communicator) {
  NamedTensors made;
  run_on_all(communicator, [&] {
    if (!communicator.is_root()) return;
    const WorkingAlone alone("finding the images' means and principal axes");
    AtomProjection projection{group_means(atoms), {}, 1};
    made["means"] = projection.means;
    if (dimensions == 0) return;
    PrincipalAxes axes(atoms.values());
    for (std::int64_t block = 0; block < atoms.blocks().blocks(); ++block) axes.add(projection.points(atoms, block));
    made["axes"] = axes.leading(dimensions);
    made["share"] = at::scalar_tensor(axes.share(made["axes"]), at::kDouble);
  });
  made = broadcast_tensors(made, communicator);
  if (dimensions == 0) return {made.at("means"), {}, 1};
  return {made.at("means"), made.at("axes"), made.at("share").item<double>()};
}

}  // namespace couplet
