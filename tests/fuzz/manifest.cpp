// Tables of others: their manifests. Whoever crafts one gives it the hash of its content, so it is read with that, too.
#include "storage/files/hash.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_table.h"
#include "storage/tables/table_check.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_manifest(std::string_view text) {
  const FuzzedFile file(manifest_name, text);
  read_or_refuse([] {
    const nlohmann::json manifest = load_manifest(fuzzed_folder(), "");
    const ShardPlan plan = manifest_plan(manifest);
    std::int64_t rows = 0;
    for (std::int64_t index = 0; index < plan.shards(); ++index) {
      rows += plan.rows_of(index);
      require(plan.rows_of(index) > 0);
      require(!facts_difference(listed_facts(manifest, index), nullptr).empty());
    }
    require(rows == plan.rows);
    require(!content_hash(manifest).empty());
  });
  read_or_refuse([] { table_hash(fuzzed_folder()); });
  // Its shards are missing.
  read_or_refuse([] { RowTable(fuzzed_folder(), ""); });
  read_or_refuse([] {
    const TableSurvey survey = survey_table(fuzzed_folder());
    if (survey.shards > 0) check_shard(survey, 0, true, [](const RowShard&) { return std::vector<std::string>(); });
  });
}

}  // namespace

void fuzz_input(std::string_view input) {
  read_manifest(input);
  read_or_refuse([&] {
    nlohmann::json manifest = parse_json(input, "the input");
    if (!manifest.is_object()) return;
    manifest.erase("hash");
    manifest["hash"] = hash_text(manifest.dump());
    read_manifest(manifest.dump());
  });
}
