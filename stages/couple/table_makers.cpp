#include "stages/couple/table_makers.h"

#include "stages/couple/adoption.h"
#include "stages/couple/gaussianisation.h"
#include "stages/couple/inversion.h"
#include "stages/couple/reflow.h"
#include "stages/couple/semidiscrete_table.h"
#include "stages/data/run_tables.h"
#include "storage/error.h"

#include <algorithm>

namespace couplet {

const std::vector<TableMaker>& table_makers() {
  static const std::vector<TableMaker> makers{
      {.name = "inversion",
       .what = "the teacher carries every image to its noise",
       .needs_teacher = true,
       .keys = {"flips", "replicates", "noise-type", "shard-rows", "block-rows", "slice-rows", "allow-nonfinite",
                "round-trip", "precision", "ema"},
       .shards = &inversion},
      {.name = "reflow",
       .what = "a student's flow carries fresh noise to images",
       .keys = {"flips", "replicates", "noise-type", "shard-rows", "block-rows", "slice-rows", "allow-nonfinite",
                "precision", "solver", "nfe", "tolerance", "guidance"},
       .shards = &reflow},
      {.name = "semidiscrete",
       .what = "noise goes to the image that semidiscrete optimal transport carries it to",
       .keys = {"flips", "shard-rows", "block-rows", "sd-target", "sd-steps", "sd-batch", "sd-rate", "sd-dims",
                "sd-within", "sd-draws", "sd-check-every"},
       .make = make_semidiscrete_table},
      {.name = "gaussianisation",
       .what = "a map makes the noise of another table more Gaussian",
       .keys = {"noise-type", "slice-rows", "allow-nonfinite", "precision"},
       .shards = &gaussianisation},
      {.name = "adoption", .what = "the table was made elsewhere", .keys = {"source"}, .make = adopt_table}};
  return makers;
}

const TableMaker& maker_of_table(const Config& config, const std::string& table) {
  const std::string made_by = find_run_table(config, table).made_by;
  const auto found = std::ranges::find(table_makers(), made_by, &TableMaker::name);
  if (found == table_makers().end()) fail("nobody is there who makes the table {}: {}", table, made_by);
  return *found;
}

}  // namespace couplet
