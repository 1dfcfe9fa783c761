// couplet inspect: what a shard or a table holds.
#include "launch/commands/commands.h"
#include "launch/inspect/pair_sample.h"
#include "launch/inspect/row_description.h"
#include "launch/inspect/row_export.h"
#include "launch/inspect/row_pictures.h"
#include "launch/inspect/table_description.h"
#include "stages/opened_run.h"
#include "storage/files/atomic_file.h"
#include "storage/filesystem.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"
#include "storage/text.h"

namespace couplet {

CommandSyntax inspect_syntax() {
  return {.name = "inspect",
          .arguments = "PATH",
          .summary = "show what a shard, a data set or a coupling table holds, or what a student's pairs are like",
          .flags = {{"json", "", "as JSON"},
                    {"no-quality", "", "do not judge the coupling and its noise, which takes seconds to half a minute"},
                    {"row", "N", "one row: its values and where in which file they lie"},
                    {"export", "FILE.npz", "write the rows' columns for numpy.load"},
                    {"pictures", "FILE.png", "draw rows: image | noise | image the teacher makes of the noise"},
                    {"rows", "A-B", "rows of --export (all) and --pictures (the first 64)"},
                    {"run-dir", "DIR", "the run whose teacher --pictures takes (the one that PATH lies in)"}},
          .takes_keys = false,
          .notes =
              "PATH is a shard (.h5) or a directory with a manifest, such as RUN/coupling/nf/train. Rows are\n"
              "numbered from 0, in a shard by its own numbers. Without --row, --export and --pictures the command\n"
              "reads all rows, compares their checksums, and prints the figures that docs/coupling-table.md\n"
              "explains; a coupling table is judged, too, by at most 4096 of its pairs, and its noise compared with\n"
              "N(0, I), together with that of the split beside it (docs/metrics.md); of a\n"
              "data set it counts classes, and rows of equal pixels, also in the split beside it. A\n"
              "shard needs neither manifest nor configuration. PATH may also be the directory of a student whose\n"
              "coupling has no table, such as RUN/student/ot-0: of the pairs that it draws it has the same figures.\n"};
}

namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t largest_export = std::uint64_t{4} << 30;  // bytes, where --rows was not given
constexpr std::int64_t pictured_rows = 64, most_pictured_rows = 4096;

void require_suffix(const CommandLine& line, const std::string& flag, const std::string& suffix) {
  if (!line.has(flag)) return;
  if (!line.required(flag).ends_with(suffix))
    refuse("--{} {}: expected a file name that ends in {}", flag, line.get(flag), suffix);
}

void check_flags(const CommandLine& line) {
  require_suffix(line, "export", ".npz");
  require_suffix(line, "pictures", ".png");
  const bool files = line.has("export") || line.has("pictures");
  if (line.has("row") && files) refuse("--row shows one row; --export and --pictures take --rows A-B");
  if (line.has("rows") && !files) refuse("--rows belongs to --export and --pictures; --row N shows one row");
  if (line.has("no-quality") && (line.has("row") || files)) refuse("--no-quality belongs to the figures of all rows");
  if (line.has("run-dir") && !line.has("pictures")) refuse("--run-dir belongs to --pictures");
}

Json describe_one_row(const CommandLine& line, const RowSource& source) {
  const std::int64_t row = line.integer("row", 0, 0);
  if (row >= source.rows()) refuse("--row {}: {} has rows 0 to {}", row, source.path().string(), source.rows() - 1);
  return describe_row(source, row);
}

Json export_file(const CommandLine& line, const RowSource& source) {
  const RowSpan rows = line.has("rows") ? parse_rows("rows", line.get("rows"), source) : RowSpan{0, source.rows() - 1};
  const std::uint64_t bytes = export_bytes(source, rows);
  if (!line.has("rows") && bytes > largest_export)
    refuse("{}: its {} rows are {:.1f} GiB; say which to export (--rows A-B), or --rows 0-{} for all",
           source.path().string(), source.rows(), static_cast<double>(bytes) / 0x1p30, source.rows() - 1);
  export_rows(source, rows, line.get("export"));
  return {{"file", utf8_text(line.get("export"))}, {"first_row", rows.first}, {"rows", rows.count()}, {"bytes", bytes}};
}

std::optional<RunDirectory> chosen_run(const CommandLine& line, const RowSource& source) {
  if (!line.has("run-dir")) return run_of(source.path());
  RunDirectory run(line.required("run-dir"));
  require_run_directory(run);
  return run;
}

Json draw_file(const CommandLine& line, const RowSource& source) {
  const RowSpan rows = line.has("rows") ? parse_rows("rows", line.get("rows"), source)
                                        : RowSpan{0, std::min(pictured_rows, source.rows()) - 1};
  if (rows.count() > most_pictured_rows)
    refuse("--rows {}: {} rows; a picture holds at most {}", line.get("rows"), rows.count(), most_pictured_rows);
  const std::string note = draw_rows(source, rows, chosen_run(line, source), line.get("pictures"));
  Json json{{"file", utf8_text(line.get("pictures"))},
            {"first_row", rows.first},
            {"rows", rows.count()},
            {"regenerated", note.empty()}};
  if (!note.empty()) json["note"] = utf8_text(note);
  return json;
}

void print_files(const Json& files) {
  for (const auto& [what, file] : files.items()) {
    const auto first = file.at("first_row").get<std::int64_t>(), rows = file.at("rows").get<std::int64_t>();
    fmt::print("{}: rows {} to {} in {}\n", what, first, first + rows - 1, file.at("file").get<std::string>());
    if (file.contains("note")) fmt::print("{}\n", file["note"].get<std::string>());
  }
}

/// Where the pairs of the student at `path` were judged; "": it is no student of a coupling without a table.
std::filesystem::path drawn_pairs_file(const std::filesystem::path& path) {
  const std::filesystem::path file = path / drawn_quality_name;
  return is_there(file) && !is_there(path / manifest_name) ? file : std::filesystem::path();
}

void inspect_drawn_pairs(const CommandLine& line, const std::filesystem::path& file) {
  for (const char* flag : {"row", "export", "pictures", "no-quality"})
    if (line.has(flag)) refuse("--{}: {} has no rows, but figures of pairs that a student drew", flag, file.string());
  const Json quality(parse_json(read_file(file), file.string()));
  if (line.has("json")) return fmt::print("{}\n", quality.dump(2));
  try {
    fmt::print("{:<15} {}\n{:<15} {}\n", "path", utf8_text(file.string()), "coupling",
               quality.at("coupling").get<std::string>());
    print_quality(quality);
  } catch (const Json::exception&) {
    fail("{}: these are not the figures of a student's pairs", file.string());
  }
}

void inspect(const CommandLine& line, const RowSource& source) {
  Json json = Json::object();
  auto print = &print_description;
  if (line.has("row")) {
    json = describe_one_row(line, source);
    print = &print_row;
  } else if (line.has("export") || line.has("pictures")) {
    if (line.has("export")) json["export"] = export_file(line, source);
    if (line.has("pictures")) json["pictures"] = draw_file(line, source);
    print = &print_files;
  } else {
    json = describe_rows(source, !line.has("no-quality"));
  }
  if (line.has("json"))
    fmt::print("{}\n", json.dump(2));
  else
    print(json);
}

}  // namespace

int inspect_command(const std::vector<std::string>& words) {
  const CommandLine line(inspect_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(inspect_syntax()));
    return exit_ok;
  }
  check_flags(line);
  if (const std::filesystem::path drawn = drawn_pairs_file(line.argument()); !drawn.empty())
    inspect_drawn_pairs(line, drawn);
  else
    inspect(line, RowSource(line.argument()));
  return exit_ok;
}

}  // namespace couplet
