// Pairs of a table of seeds: the noise is made again from its number.
#include "method/couplings/coupling.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/tables/seeds_rows.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

class SeedsCoupling : public Coupling {
public:
  explicit SeedsCoupling(const CouplingSources& sources)
      : images_(open_for_training(sources.train_images, dataset_format, sources.reads)),
        seeds_(open_for_training(sources.train_table, seeds_format, sources.reads)),
        test_(sources.test_images, dataset_format),
        codec_(sources.codec),
        noise_seed_(seeds_.provenance().at("seed").get<std::uint64_t>()),
        held_out_seed_(sources.held_out_seed),
        rows_(std::make_shared<SeedsRows>(seeds_, images_), {"image", "label", "noise_id"}, sources.window_blocks,
              sources.seed) {}

  Pairs draw(const BatchRange& range) override {
    const std::vector<at::Tensor> read = rows_.read(range.first, range.rows, range.batch);
    const at::Tensor image = codec_->encode(read[0]), ids = read[2].contiguous();
    const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
    return {image, noise_of_ids(image.sizes().slice(1).vec(), noise_seed_, {id, id + ids.numel()}),
            read[1].to(at::kLong)};
  }

  /// The table knows nothing of held-out images: they have fresh noise.
  std::int64_t held_out_rows() const override { return test_.rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override {
    const at::Tensor image = codec_->encode(read_numbered_rows(test_, "image", rows));
    return {image, normal_rows(image.sizes().slice(1).vec(), held_out_seed_, Purpose::validation_start, rows),
            read_numbered_rows(test_, "label", rows).to(at::kLong)};
  }

  nlohmann::json provenance() const override { return {{"table", seeds_.content_hash()}}; }

private:
  RowTable images_, seeds_, test_;
  std::shared_ptr<const Codec> codec_;
  std::uint64_t noise_seed_, held_out_seed_;
  RowStream rows_;
};

}  // namespace

CouplingKind sd_coupling() {
  return {.name = "sd",
          .help = "each image with noises that semidiscrete optimal transport carries to it (SD-FM, arXiv 2509.25519)",
          .made_by = "semidiscrete",
          .table = "sd",
          .table_has_noise = false,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<SeedsCoupling>(sources);
          }};
}

}  // namespace couplet
