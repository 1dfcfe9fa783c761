#include "stages/cost/table_reading.h"

#include "method/couplings/coupling.h"
#include "method/tables/coupling_table.h"
#include "pipeline/config/options.h"
#include "stages/data/seen_rows.h"
#include "storage/tables/row_shard_layout.h"

#include <algorithm>
#include <iterator>

namespace couplet {

TableReading dataset_reading(const CostModel& model, double rows) {
  const DatasetShape& shape = model.dataset.shape;
  const PrepareConfig& prepare = model.config.prepare;
  const double values = as_double(shape.channels * shape.size * shape.size);
  double value_bytes = shape.codec ? as_double(static_cast<std::int64_t>(element_size(shape.codec->stored_type()))) : 1;
  if (has_latents(model.config)) value_bytes *= 2;  // mean and deviation
  return {.rows = rows,
          .block_rows = as_double(prepare.block_rows),
          .shard_rows = as_double(prepare.shard_rows),
          .window_blocks = as_double(prepare.window_blocks),
          .row_bytes = values * value_bytes,
          .small_bytes = 4,
          .columns = 2};
}

TableReading image_reading(const CostModel& model, std::int64_t rows) {
  TableReading reading = dataset_reading(model, as_double(rows));
  if (!encodes_images(model.config)) return reading;
  const std::vector<std::int64_t> image = model.dataset.shape.pixel_shape();
  reading.row_bytes = as_double(image[0] * image[1] * image[2]);
  return reading;
}

TableReading table_reading(const RunTable& table, const std::vector<std::string>& read, const CostModel& model) {
  const CoupleConfig couple = couple_config(model.config, unmapped_table(model.config, table).name);
  const auto columns = coupling_columns(model.dataset.shape,
                                        couple.noise_type == "float16" ? ElementType::float16 : ElementType::float32);
  TableReading reading{
      .rows = as_double(CouplingRows{model.dataset.train_rows, couple.flips, couple.replicates}.rows()),
      .block_rows = as_double(couple.block_rows),
      .shard_rows = as_double(couple.shard_rows),
      .small_bytes = 4,
      .columns = as_double(std::ssize(read)) + 1,
      .checksums_of_a_block = 8 * as_double(std::ssize(columns))};
  for (const Column& column : columns)
    if (std::ranges::find(read, column.name) != read.end())
      reading.row_bytes += as_double(static_cast<std::int64_t>(column.row_bytes()));
  return reading;
}

TableReading student_reading(const StudentConfig& student, const CostModel& model, std::int64_t ranks) {
  const auto table = table_of_student(model.config, student.coupling);
  if (table && table->has_noise) {
    TableReading reading = table_reading(*table, {"noise", "image"}, model);
    reading.window_blocks = as_double(student.window_blocks);
    return reading;
  }
  const CoupleConfig& couple = model.config.couple;
  const CouplingRows numbering{model.dataset.train_rows, couple.flips, couple.replicates};
  TableReading reading = dataset_reading(model, as_double(numbering.rows()));
  reading.window_blocks = as_double(student.window_blocks);
  // Mirror images are made of one row of the data set, which is read once for both where one rank wants both.
  if (couple.flips) reading.row_bytes *= 1 - 0.5 / as_double(ranks);
  reading.shard_rows *= as_double(numbering.rows()) / as_double(model.dataset.train_rows);
  reading.block_rows = as_double(couple.block_rows);
  return reading;
}

}  // namespace couplet
