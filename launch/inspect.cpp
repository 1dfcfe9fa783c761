// couplet inspect: what a shard or a table holds.
#include "launch/column_statistics.h"
#include "launch/commands.h"

#include "stages/couple/coupling_table.h"
#include "storage/atomic_file.h"
#include "storage/filenames.h"
#include "storage/row_table.h"

#include <fmt/ranges.h>

#include <functional>
#include <nlohmann/json.hpp>

namespace couplet {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* dataset_format = "couplet-dataset";

/// Reads rows [first, first + count) of a column, of a shard or a table.
using Reader =
    std::function<void(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out)>;

Json describe_column(const Column& column, std::size_t index, std::int64_t rows, std::int64_t block_rows,
                     const Reader& read) {
  ColumnStatistics statistics(column);
  // Whole blocks at a time, so that each is read and checked once.
  const auto row_bytes = static_cast<std::int64_t>(std::max<std::size_t>(1, column.row_bytes()));
  const std::int64_t blocks = std::max<std::int64_t>(1, (std::int64_t{16} << 20) / (row_bytes * block_rows));
  std::vector<std::byte> bytes;
  for (std::int64_t first = 0; first < rows; first += blocks * block_rows) {
    const std::int64_t count = std::min(blocks * block_rows, rows - first);
    bytes.resize(static_cast<std::size_t>(count * row_bytes));
    read(index, first, count, bytes);
    statistics.add(bytes);
  }
  Json json{{"name", column.name},
            {"type", std::string(element_name(column.type))},
            {"shape", column.shape},
            {"bytes", rows * row_bytes},
            {"meaning", column.meaning}};
  json.update(statistics.to_json());
  return json;
}

Json describe_columns(const std::vector<Column>& columns, std::int64_t rows, std::int64_t block_rows,
                      const Reader& read) {
  Json json = Json::array();
  for (std::size_t i = 0; i < columns.size(); ++i)
    json.push_back(describe_column(columns[i], i, rows, block_rows, read));
  return json;
}

/// A shard of either of our formats.
RowShard open_shard(const std::filesystem::path& path) {
  try {
    return RowShard(path, coupling_format);
  } catch (const Error&) {
    return RowShard(path, dataset_format);
  }
}

Json describe_shard(const std::filesystem::path& path) {
  const RowShard shard = open_shard(path);
  const ShardHeader& header = shard.header();
  const Reader read = [&](auto column, auto first, auto count, auto out) { shard.read(column, first, count, out); };
  return {{"path", path.string()},
          {"format", header.format},
          {"format_version", header.format_version},
          {"rows", header.rows},
          {"first_row", header.first_row},
          {"block_rows", header.block_rows},
          {"bytes", std::filesystem::file_size(path)},
          {"provenance", header.provenance},
          {"summary", shard.summary()},
          {"columns", describe_columns(shard.columns(), header.rows, header.block_rows, read)}};
}

Json describe_table(const std::filesystem::path& directory) {
  const auto manifest = directory / manifest_name;
  if (!std::filesystem::exists(manifest))
    fail("{} is no finished table: it has no {}; give one of its shards to see what is there", directory.string(),
         manifest_name);
  const auto stated = nlohmann::json::parse(read_file(manifest), nullptr, false);
  if (!stated.is_object() || !stated.contains("format"))
    fail("{} is damaged: no JSON with a format", manifest.string());
  const RowTable table(directory, stated["format"].get<std::string>());
  std::uintmax_t bytes = 0;
  for (std::int64_t i = 0; i < table.plan().shards(); ++i) bytes += std::filesystem::file_size(table.shard(i).path());
  const Reader read = [&](auto column, auto first, auto count, auto out) { table.read(column, first, count, out); };
  return {{"path", directory.string()},
          {"format", stated["format"]},
          {"format_version", table.shard(0).header().format_version},
          {"rows", table.rows()},
          {"shards", table.plan().shards()},
          {"shard_rows", table.plan().shard_rows},
          {"block_rows", table.block_rows()},
          {"bytes", bytes},
          {"provenance", table.provenance()},
          {"summary", table.summary()},
          {"columns", describe_columns(table.columns(), table.rows(), table.block_rows(), read)}};
}

void print_column(const Json& column) {
  const auto shape = column.at("shape").get<std::vector<std::int64_t>>();
  fmt::print("  {:<12} {:<8} {:<14} {}\n", column.at("name").get<std::string>(), column.at("type").get<std::string>(),
             shape.empty() ? "one a row" : fmt::format("{}", fmt::join(shape, " x ")),
             column.at("meaning").get<std::string>());
  if (column.contains("mean"))
    fmt::print("  {:<12} mean {:.6g}, variance {:.6g}, range {:.6g} … {:.6g}, not finite {}\n", "",
               column["mean"].get<double>(), column["variance"].get<double>(), column["minimum"].get<double>(),
               column["maximum"].get<double>(), column["nonfinite"].get<std::int64_t>());
  if (!column.contains("histogram")) return;
  std::vector<std::string> counts;
  for (const auto& [value, count] : column["histogram"].items())
    counts.push_back(fmt::format("{}: {}", value, count.get<std::int64_t>()));
  fmt::print("  {:<12} {}\n", "", fmt::join(counts, ", "));
}

void print_text(const Json& json) {
  for (const auto& [key, value] : json.items())
    if (key != "columns") fmt::print("{:<15} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  fmt::print("columns\n");
  for (const auto& column : json.at("columns")) print_column(column);
}

}  // namespace

int inspect_command(const std::vector<std::string>& words) {
  const CommandSyntax syntax{
      .name = "inspect",
      .arguments = "PATH",
      .summary = "show what a shard, a data set or a coupling table holds",
      .flags = {{"json", "", "as JSON"}},
      .takes_keys = false,
      .notes =
          "PATH is a shard (.h5) or a directory with a manifest, such as RUN/coupling. All rows are\n"
          "read and their checksums compared.\n"};
  const CommandLine line(syntax, words);
  if (line.help()) {
    fmt::print("{}", help_text(syntax));
    return exit_ok;
  }
  const std::filesystem::path path = line.argument();
  if (!std::filesystem::exists(path)) refuse("{} does not exist", path.string());
  const Json json = std::filesystem::is_directory(path) ? describe_table(path) : describe_shard(path);
  if (line.has("json"))
    fmt::print("{}\n", json.dump(2));
  else
    print_text(json);
  return exit_ok;
}

}  // namespace couplet
