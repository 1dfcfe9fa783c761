// Runs of others: the scores and the records of their stages.
#include "pipeline/run/stage_record.h"
#include "stages/results/score_record.h"
#include "storage/json_text.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_scores(std::string_view text) {
  for (const ScoreRecord& record : read_records(parse_json(text, "the input"))) record.reference_hash();
}

void read_kept_scores(std::string_view text) {
  const FuzzedFile file("records.json", text);
  Records records(fuzzed_folder());
  records.has({.model = "student", .student = "nf", .solver = "euler", .nfe = 2}, "frechet_distance", {});
  records.forget({"teacher"});
}

void read_stage(std::string_view text) {
  const FuzzedFile file("stage.json", text);
  if (const auto record = read_record(fuzzed_folder())) {
    // What is written of it says the same.
    publish_record(fuzzed_folder(), *record);
    const auto again = read_record(fuzzed_folder());
    require(again->state == record->state && again->keys == record->keys && again->attempts == record->attempts);
  }
}

}  // namespace

void fuzz_input(std::string_view input) {
  read_or_refuse([&] { read_scores(input); });
  read_or_refuse([&] { read_kept_scores(input); });
  read_or_refuse([&] { read_stage(input); });
}
