// Each image with fresh noise: flow matching without any coupling, the baseline.
#include "method/couplings/coupling.h"
#include "method/couplings/dataset_rows.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

class IndependentCoupling : public Coupling {
public:
  explicit IndependentCoupling(const CouplingSources& sources)
      : images_(open_for_training(sources.train_images, dataset_format, sources.reads)),
        test_(sources.test_images, dataset_format),
        codec_(sources.codec),
        seed_(sources.seed),
        held_out_seed_(sources.held_out_seed),
        rows_(std::make_shared<DatasetRows>(images_, CouplingRows{images_.rows(), sources.flips, sources.replicates},
                                            sources.block_rows),
              {"image", "label"}, sources.window_blocks, sources.seed) {}

  Pairs draw(const BatchRange& range) override {
    const std::vector<at::Tensor> read = rows_.read(range.first, range.rows, range.batch);
    return {codec_->encode(read[0]), normal_rows(shape_of(read[0]), seed_, Purpose::student_noise, range.positions()),
            read[1].to(at::kLong)};
  }

  std::int64_t held_out_rows() const override { return test_.rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override {
    const at::Tensor image = read_numbered_rows(test_, "image", rows);
    return {codec_->encode(image), normal_rows(shape_of(image), held_out_seed_, Purpose::validation_start, rows),
            read_numbered_rows(test_, "label", rows).to(at::kLong)};
  }

  nlohmann::json provenance() const override { return {{"dataset", images_.content_hash()}}; }

private:
  static std::vector<std::int64_t> shape_of(const at::Tensor& images) { return images.sizes().slice(1).vec(); }

  RowTable images_, test_;
  std::shared_ptr<const Codec> codec_;
  std::uint64_t seed_, held_out_seed_;
  RowStream rows_;
};

}  // namespace

CouplingKind independent_coupling() {
  return {.name = "independent",
          .help = "each image with fresh noise, of the data set alone: the baseline",
          .is_baseline = true,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<IndependentCoupling>(sources);
          }};
}

}  // namespace couplet
