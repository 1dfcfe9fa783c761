#include "method/tables/seeds_table.h"

#include "method/data/noise.h"

namespace couplet {

std::vector<Column> seeds_columns() {
  return {{"noise_id", ElementType::int64, {}, "number from which the noise of the pair is made"},
          {"label", ElementType::int32, {}, "class, from 0"},
          {"sample", ElementType::int64, {}, "row of the data set"},
          {"flip", ElementType::uint8, {}, "1: mirrored left to right"}};
}

void SeedRows::add(std::int64_t id, std::int32_t its_label, std::int64_t its_sample, bool mirrored) {
  noise_id.push_back(id);
  label.push_back(its_label);
  sample.push_back(its_sample);
  flip.push_back(mirrored ? 1 : 0);
}

at::Tensor noise_of_ids(const std::vector<std::int64_t>& shape, std::uint64_t seed,
                        const std::vector<std::int64_t>& ids) {
  return normal_rows(shape, seed, Purpose::table_noise, ids);
}

}  // namespace couplet
