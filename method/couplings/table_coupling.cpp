// Pairs that lie in a coupling table.
#include "method/couplings/coupling.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

class TableCoupling : public Coupling {
public:
  explicit TableCoupling(const CouplingSources& sources)
      : table_(open_for_training(sources.train_table, coupling_format, sources.reads)),
        test_(sources.test_table, coupling_format),
        codec_(sources.codec),
        sigma_(table_.summary().at("sigma_f").get<double>()),
        rows_(table_, {"noise", "image", "label"}, sources.window_blocks, sources.seed) {}

  Pairs draw(const BatchRange& range) override {
    const std::vector<at::Tensor> read = rows_.read(range.first, range.rows, range.batch);
    return pairs(read[0], read[1], read[2]);
  }

  std::int64_t held_out_rows() const override { return test_.rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override {
    const auto read = [&](const char* column) { return read_numbered_rows(test_, column, rows); };
    return pairs(read("noise"), read("image"), read("label"));
  }

  nlohmann::json provenance() const override {
    nlohmann::json all{{"table", table_.content_hash()}};
    if (table_.provenance().contains("teacher")) all["teacher"] = table_.provenance()["teacher"];
    return all;
  }

private:
  /// Held-out noise, too, is divided by the training table's σ_f: the students of both know one scale.
  Pairs pairs(const at::Tensor& noise, const at::Tensor& image, const at::Tensor& label) const {
    return {seen_images(image, *codec_), noise.to(at::kFloat) / sigma_, label.to(at::kLong)};
  }

  RowTable table_, test_;
  std::shared_ptr<const Codec> codec_;
  double sigma_;
  RowStream rows_;
};

}  // namespace

CouplingKind nf_coupling() {
  return {.name = "nf",
          .help = "each image with the noise that the teacher carries it to (NFM, arXiv 2603.09014)",
          .table = "nf",
          .table_of_teacher = true,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<TableCoupling>(sources);
          }};
}

}  // namespace couplet
