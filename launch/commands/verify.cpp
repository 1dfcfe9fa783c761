// couplet verify: is a table, a data set or a shard what it claims to be?
#include "launch/commands/commands.h"
#include "launch/commands/rank_end.h"
#include "launch/inspect/table_difference.h"

#include "method/tables/coupling_check.h"
#include "method/tables/seeds_check.h"
#include "method/tables/seeds_table.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/distributed/make_communicator.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"
#include "storage/tables/table_check.h"
#include "storage/text.h"

#include <nlohmann/json.hpp>

namespace couplet {

CommandSyntax verify_syntax() {
  return {.name = "verify",
          .arguments = "PATH",
          .summary = "check every byte and every row of a table or a shard",
          .flags = {{"quick", "", "headers, sizes, names and the manifest only: no rows are read"},
                    {"against", "OTHER", "compare with another table, row by row"},
                    {"tolerance", "X", "largest difference of noise and NLL that --against accepts (default 0)"},
                    {"json", "", "as JSON"}},
          .takes_keys = false,
          .notes =
              "PATH is a shard (.h5) or a directory of shards, such as RUN/coupling/nf/train. Every problem is\n"
              "listed with its file and rows: damaged blocks, holes, duplicates, wrong order, NaN, shards of\n"
              "another table, a stale manifest. The exit status is 0 if all is sound, else 1. Ranks share the\n"
              "shards: mpirun -n N couplet verify PATH.\n"};
}

namespace {

using Json = nlohmann::ordered_json;

Json to_json(const std::vector<Problem>& problems) {
  Json list = Json::array();
  for (const Problem& problem : problems)
    list.push_back({{"file", utf8_text(problem.file)}, {"what", utf8_text(problem.what)}});
  return list;
}

/// What the rows of any table must be beyond their checksums.
std::vector<std::string> check_rows(const RowShard& shard) {
  std::vector<std::string> problems = check_coupling_rows(shard);
  for (std::string& problem : check_seeds_rows(shard)) problems.push_back(std::move(problem));
  return problems;
}

/// The problems of all shards in the table's order, those of each rank's shards put together on every rank.
Json check_shards(const TableSurvey& survey, bool quick, Communicator& communicator) {
  Json mine = Json::object();
  for (std::int64_t index = communicator.rank(); index < survey.shards; index += communicator.size())
    mine[std::to_string(index)] = to_json(check_shard(survey, index, quick, check_rows));
  std::vector<Json> all;
  for (const std::string& text : communicator.gather_text(mine.dump())) all.push_back(Json::parse(text));
  Json list = Json::array();
  for (std::int64_t index = 0; index < survey.shards; ++index) {
    const Json& from = all[static_cast<std::size_t>(index % communicator.size())];
    for (const Json& problem : from.at(std::to_string(index))) list.push_back(problem);
  }
  return list;
}

/// The problems that a table has as a whole, whose manifest and shards have none; rank 0 looks for all.
Json check_whole(const TableSurvey& survey, Communicator& communicator) {
  Json problems = Json::array();
  if (communicator.is_root() && survey.manifest->at("format") == seeds_format)
    for (const std::string& what : check_seeds_table(survey.directory))
      problems.push_back({{"file", manifest_name}, {"what", what}});
  return Json::parse(communicator.broadcast_text(problems.dump(), 0));
}

/// {"path", "shards", "rows", "problems"} of a directory or a file.
Json verify(const std::filesystem::path& path, bool quick, Communicator& communicator) {
  if (!std::filesystem::is_directory(path)) {
    return {{"path", utf8_text(path.string())}, {"problems", to_json(check_file(path, quick, check_rows))}};
  }
  const TableSurvey survey = survey_table(path);
  Json problems = to_json(survey.problems);
  for (const Json& problem : check_shards(survey, quick, communicator)) problems.push_back(problem);
  if (problems.empty() && !quick) problems = check_whole(survey, communicator);
  Json json{{"path", utf8_text(path.string())}, {"shards", survey.shards}};
  if (survey.manifest) json["rows"] = manifest_plan(*survey.manifest).rows;
  json["problems"] = std::move(problems);
  return json;
}

void print_text(const Json& json, bool quick) {
  const auto path = json.at("path").get<std::string>();
  std::string what = path;
  if (json.contains("rows"))
    what += fmt::format(": {} rows in {} shards", json["rows"].get<std::int64_t>(), json["shards"].get<std::int64_t>());
  for (const Json& problem : json.at("problems"))
    fmt::print("{}: {}\n", problem["file"].get<std::string>(), problem["what"].get<std::string>());
  if (json.contains("differences")) {
    for (const Json& column : json["differences"])
      fmt::print("{}: {} rows differ, largest difference {:.6g}\n", column["column"].get<std::string>(),
                 column["rows"].get<std::int64_t>(), column["largest"].get<double>());
  }
  const std::size_t count = json["problems"].size();
  if (count > 0)
    fmt::print("{}: {} problem{}; `couplet repair` drops damaged shards so that they can be made again\n", what, count,
               count == 1 ? "" : "s");
  else
    fmt::print("{}: sound{}\n", what, quick ? " as far as can be seen without reading the rows" : "");
}

int verify_on_ranks(const CommandLine& line, Communicator& communicator) {
  const std::filesystem::path path = line.argument();
  if (!is_there(path)) refuse("{} does not exist", path.string());
  const bool quick = line.has("quick");
  Json json = verify(path, quick, communicator);
  bool sound = json["problems"].empty();
  if (line.has("against") && sound) {
    const std::vector<ColumnDifference> differences = compare_tables(path, line.get("against"), communicator);
    json["against"] = line.get("against");
    json["differences"] = Json::array();
    for (const ColumnDifference& column : differences) {
      json["differences"].push_back({{"column", column.name}, {"rows", column.rows}, {"largest", column.largest}});
      sound = sound && column.largest <= (column.exact ? 0 : line.number("tolerance", 0));
    }
  }
  if (!communicator.is_root()) return exit_ok;
  json["sound"] = sound;
  if (line.has("json"))
    fmt::print("{}\n", json.dump(2));
  else
    print_text(json, quick);
  return sound ? exit_ok : exit_failed;
}

}  // namespace

int verify_command(const std::vector<std::string>& words) {
  const CommandLine line(verify_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(verify_syntax()));
    return exit_ok;
  }
  return run_rank([&] { return verify_on_ranks(line, *make_communicator("cpu")); });
}

}  // namespace couplet
