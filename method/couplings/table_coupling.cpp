#include "method/couplings/table_coupling.h"

#include "method/tables/row_subset.h"
#include "pipeline/loader/row_stream.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/tensor/random.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <optional>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// Some blocks for training, and some held out.
BlockSplit split_table(const RowTable& table, std::uint64_t seed) {
  if (table.rows() <= table.block_rows())
    refuse(
        "{}: its {} rows are one block, of which none can be held out: import it with smaller blocks (--block-rows), "
        "or put held-out rows beside it as a table of their own (DIR/train and DIR/test)",
        table.path().string(), table.rows());
  return split_blocks(TableRows(table), seed);
}

class TableCoupling : public Coupling {
public:
  explicit TableCoupling(const CouplingSources& sources)
      : table_(open_for_training(sources.train_table, coupling_format, sources.reads)),
        codec_(sources.codec),
        teacher_noise_(sources.teacher_noise),
        sigma_(table_.summary().at("sigma_f").get<double>()) {
    auto trained = std::make_shared<TableRows>(table_);
    if (!sources.test_table.empty()) {
      test_.emplace(sources.test_table, coupling_format);
      rows_.emplace(trained, columns(), sources.window_blocks, sources.seed);
      return;
    }
    if (teacher_noise_) fail("{}: has no held-out rows, as tables of the teacher do", table_.path().string());
    BlockSplit split = split_table(table_, sources.held_out_seed);
    held_out_.emplace(trained, std::move(split.held_out));
    rows_.emplace(std::make_shared<RowSubset>(trained, std::move(split.trained)), columns(), sources.window_blocks,
                  sources.seed);
  }

  Pairs draw(const BatchRange& range) override {
    const std::vector<at::Tensor> read = rows_->read(range.first, range.rows, range.batch);
    const auto* number = read[3].const_data_ptr<std::int64_t>();
    return pairs(read, {number, number + range.rows}, Purpose::coupling_noise);
  }

  std::int64_t held_out_rows() const override { return held_out_ ? held_out_->rows() : test_->rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override {
    std::vector<std::int64_t> numbers = rows;
    if (held_out_)
      for (std::int64_t& number : numbers) number = held_out_->number(number);
    const RowTable& table = held_out_ ? table_ : *test_;
    const auto read = [&](const char* column) { return read_numbered_rows(table, column, numbers); };
    return pairs({read("noise"), read("image"), read("label")}, numbers, Purpose::validation_noise);
  }

  nlohmann::json provenance() const override {
    nlohmann::json all{{"table", table_.content_hash()}};
    if (table_.provenance().contains("teacher")) all["teacher"] = table_.provenance()["teacher"];
    return all;
  }

private:
  static std::vector<std::string> columns() { return {"noise", "image", "label"}; }

  /// Held-out noise, too, is divided by the training table's σ_f: the students of both know one scale. `purpose`: by
  /// which the teacher's own noise on the images was drawn.
  Pairs pairs(const std::vector<at::Tensor>& read, const std::vector<std::int64_t>& numbers, Purpose purpose) const {
    const at::Tensor &noise = read[0], &image = read[1], &label = read[2];
    Pairs pairs{seen_images(image, *codec_), noise.to(at::kFloat) / sigma_, label.to(at::kLong)};
    if (!teacher_noise_) return pairs;
    const std::shared_ptr<const Codec> codec =
        codec_->tables_hold_seen() ? find_codec("float").make(nlohmann::json::object(), {}) : codec_;
    pairs.noised = noised_rows(image, *codec, teacher_noise_->noise, teacher_noise_->seed, purpose, numbers);
    return pairs;
  }

  RowTable table_;
  std::optional<RowTable> test_;
  std::optional<RowSubset> held_out_;  ///< of `table_`, where there is no test table
  std::shared_ptr<const Codec> codec_;
  std::optional<TeacherNoise> teacher_noise_;
  double sigma_;
  std::optional<RowStream> rows_;
};

}  // namespace

std::unique_ptr<Coupling> make_table_coupling(const CouplingSources& sources) {
  return std::make_unique<TableCoupling>(sources);
}

}  // namespace couplet
