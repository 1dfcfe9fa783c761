#include "method/couplings/table_pairs.h"

#include "method/statistics/coupling_quality.h"
#include "method/statistics/normality.h"
#include "method/tables/coupling_table.h"
#include "method/tables/seeds_table.h"
#include "pipeline/loader/table_rows.h"
#include "storage/error.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

std::vector<std::int64_t> spread_rows(std::int64_t rows, std::int64_t values) {
  const RowSample sample(rows, judged_rows(values));
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < sample.size(); ++i) numbers.push_back(sample.at(i));
  return numbers;
}

std::vector<std::int64_t> numbers_of(const at::Tensor& column) {
  const at::Tensor all = column.to(at::kLong).contiguous();
  return {all.const_data_ptr<std::int64_t>(), all.const_data_ptr<std::int64_t>() + all.numel()};
}

/// Images as models see them, of these rows of the data set; those of which `flip` is 1 mirrored left to right.
at::Tensor mirrored_images(const RowTable& images, const std::vector<std::int64_t>& samples, const at::Tensor& flip) {
  const at::Tensor stored = read_numbered_rows(images, "image", samples);
  const at::Tensor turned = flip.to(at::kBool).view({-1, 1, 1, 1});
  return codec_of(images)->encode(at::where(turned, stored.flip({3}), stored));
}

}  // namespace

Pairs sample_table_pairs(const std::filesystem::path& path, const RowTable& images) {
  const RowTable table(path, "");
  const std::string& format = table.shard(0)->header().format;
  const auto codec = codec_of(images);
  const std::vector<std::int64_t> shape = codec->seen_shape(images.columns().at(images.column("image")).shape);
  std::int64_t values = 1;
  for (const std::int64_t size : shape) values *= size;
  const std::vector<std::int64_t> rows = spread_rows(table.rows(), values);
  const auto read = [&](const char* column) { return read_numbered_rows(table, column, rows); };
  if (format == coupling_format)
    return {seen_images(read("image"), *codec),
            read("noise").to(at::kFloat) / table.summary().at("sigma_f").get<double>(), read("label").to(at::kLong)};
  if (format != seeds_format)
    fail("{} holds {}: a coupling is judged by rows of {} or {}", path.string(), format, coupling_format, seeds_format);
  const auto seed = table.provenance().at("seed").get<std::uint64_t>();
  return {mirrored_images(images, numbers_of(read("sample")), read("flip")),
          noise_of_ids(shape, seed, numbers_of(read("noise_id"))), read("label").to(at::kLong)};
}

}  // namespace couplet
