#include "method/couplings/dataset_coupling.h"

#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/tables/dataset_rows.h"
#include "pipeline/loader/table_rows.h"
#include "storage/error.h"

#include <ATen/ATen.h>

namespace couplet {

DatasetCoupling::DatasetCoupling(const CouplingSources& sources)
    : images_(open_for_training(sources.train_images, dataset_format, sources.reads)),
      test_(sources.test_images, dataset_format),
      numbering_{images_.rows(), sources.pairing.flips, sources.pairing.replicates},
      codec_(sources.codec),
      block_rows_(sources.block_rows),
      window_blocks_(sources.window_blocks),
      seed_(sources.seed),
      held_out_seed_(sources.held_out_seed),
      shape_(codec_->seen_shape(images_.columns().at(images_.column("image")).shape)),
      rows_(std::make_shared<DatasetRows>(images_, numbering_, block_rows_), {"image", "label"}, window_blocks_,
            seed_) {}

Pairs DatasetCoupling::read(const BatchRange& range) {
  const std::vector<at::Tensor> read = rows_.read(range.first, range.rows, range.batch);
  return {codec_->encode(read[0]), {}, read[1].to(at::kLong)};
}

Pairs DatasetCoupling::held_out(const std::vector<std::int64_t>& rows) const {
  return {codec_->encode(read_numbered_rows(test_, "image", rows)),
          normal_rows(shape_, held_out_seed_, Purpose::validation_start, rows),
          read_numbered_rows(test_, "label", rows).to(at::kLong)};
}

std::unique_ptr<RowStream> DatasetCoupling::stream(const std::vector<std::string>& columns) const {
  return std::make_unique<RowStream>(std::make_shared<DatasetRows>(images_, numbering_, block_rows_), columns,
                                     window_blocks_, seed_);
}

RowOrder DatasetCoupling::order() const {
  return {numbering_.rows(), block_rows_, window_blocks_, seed_};
}

void DatasetCoupling::require_finite(const at::Tensor& images, const at::Tensor& rows) const {
  const at::Tensor finite = images.flatten(1).isfinite().all(1);
  if (finite.all().item<bool>()) return;
  const auto row = rows[finite.logical_not().nonzero()[0].item<std::int64_t>()].item<std::int64_t>();
  fail("{}: image {} has values that are not finite, so that no noise can be assigned to it", images_.path().string(),
       numbering_.at(row).sample);
}

}  // namespace couplet
