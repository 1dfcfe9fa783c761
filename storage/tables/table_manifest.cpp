#include "storage/tables/table_manifest.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/json_difference.h"
#include "storage/json_text.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard.h"
#include "storage/tables/shard_scan.h"

#include <algorithm>
#include <optional>

namespace couplet {
namespace {

using nlohmann::json;

constexpr int newest_manifest_version = 1;

json column_to_json(const Column& column) {
  return {
      {"name", column.name}, {"type", element_name(column.type)}, {"shape", column.shape}, {"meaning", column.meaning}};
}

json columns_to_json(const std::vector<Column>& columns) {
  json list = json::array();
  for (const Column& column : columns) list.push_back(column_to_json(column));
  return list;
}

void check_plan(const std::filesystem::path& directory, const ShardPlan& plan) {
  if (plan.rows < 1 || plan.shard_rows < 1) {
    fail("{}: a table of {} rows in shards of {} is impossible", directory.string(), plan.rows, plan.shard_rows);
  }
}

/// The hash that guards the manifest: of its text without blanks and without the key "hash".
std::string manifest_hash(json manifest) {
  manifest.erase("hash");
  return hash_text(manifest.dump());
}

/// Tells what another program calls a manifest from one of ours, and from one of a newer Couplet.
void check_format(const std::filesystem::path& path, const json& manifest, const std::string& expected_format) {
  if (!manifest.is_object() || !manifest.contains("format") || !manifest["format"].is_string())
    fail("{}: is no manifest of a Couplet table: it has no key 'format'. Where another program made it, move it away",
         path.string());
  const auto format = manifest["format"].get<std::string>();
  if (expected_format.empty() ? !format.starts_with("couplet-") : format != expected_format)
    fail("{}: is a table of format {}, expected '{}'", path.string(), json_excerpt(format),
         expected_format.empty() ? "couplet-..." : expected_format);
  const auto version = json_member<std::int64_t>(manifest, "format_version", path.string());
  if (version < 1 || version > newest_manifest_version)
    fail(
        "{}: has format version {} (written by Couplet {}), but this is Couplet {}, which reads up to version {}; "
        "use a newer Couplet",
        path.string(), version, json_member<std::string>(manifest, "program_version", path.string()), COUPLET_VERSION,
        newest_manifest_version);
}

void check_hash(const std::filesystem::path& path, const json& manifest) {
  const auto written = json_member<std::string>(manifest, "hash", path.string());
  const std::string found = manifest_hash(manifest);
  if (written != found)
    fail("{}: was damaged or edited: its hash is {}, its content has {}", path.string(), json_excerpt(written), found);
}

/// Checks that what readers take from a manifest is there, and of the type that they take it for.
void check_keys(const std::filesystem::path& path, const json& manifest) {
  for (const char* key : {"rows", "shard_rows", "block_rows", "shard_format_version"})
    json_member<std::int64_t>(manifest, key, path.string());
  json_member<json::object_t>(manifest, "provenance", path.string());
  json_member<json>(manifest, "summary", path.string());
  for (const char* key : {"columns", "shards"}) json_member<json::array_t>(manifest, key, path.string());
}

/// Checks that the list names the shards that the rows make, in their order.
void check_shard_list(const std::filesystem::path& path, const json& manifest) {
  const ShardPlan plan = manifest_plan(manifest);
  const json& shards = manifest["shards"];
  if (static_cast<std::size_t>(plan.shards()) != shards.size())
    fail("{}: lists {} shards, expected {} for {} rows", path.string(), shards.size(), plan.shards(), plan.rows);
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    const json& shard = shards[static_cast<std::size_t>(index)];
    const std::string what = fmt::format("{}: shard {} of its list", path.string(), index);
    const auto name = json_member<std::string>(shard, "name", what);
    if (name != shard_name(index, plan.shards()))
      fail("{} is {}, expected {}", what, json_excerpt(name), shard_name(index, plan.shards()));
    json_member<std::string>(shard, "hash", what);
    json_member<std::int64_t>(shard, "bytes", what);
  }
}

}  // namespace

std::int64_t ShardPlan::rows_of(std::int64_t shard) const {
  return std::min(shard_rows, rows - first_row(shard));
}

std::string facts_difference(const json& found, const json& expected) {
  return json_difference_text(found, expected, "{} is {}, expected {}");
}

nlohmann::json shard_facts(const ShardHeader& header, const std::vector<Column>& columns) {
  // Through text, as files keep it: numbers that JSON cannot hold compare as what they become.
  return json::parse(json{{"format", header.format},
                          {"first_row", header.first_row},
                          {"rows", header.rows},
                          {"block_rows", header.block_rows},
                          {"provenance", header.provenance},
                          {"columns", columns_to_json(columns)}}
                         .dump());
}

nlohmann::json load_manifest(const std::filesystem::path& directory, const std::string& expected_format) {
  const std::filesystem::path path = directory / manifest_name;
  if (!fs::exists(path)) {
    fail("{}: does not exist: the table is not finished, or this is no table; finish or resume the stage that makes it",
         path.string());
  }
  json manifest = parse_json(read_file(path), path.string());
  check_format(path, manifest, expected_format);
  check_hash(path, manifest);
  check_keys(path, manifest);
  check_plan(directory, manifest_plan(manifest));
  check_shard_list(path, manifest);
  return manifest;
}

ShardPlan manifest_plan(const nlohmann::json& manifest) {
  return {manifest.at("rows").get<std::int64_t>(), manifest.at("shard_rows").get<std::int64_t>()};
}

nlohmann::json listed_facts(const nlohmann::json& manifest, std::int64_t index) {
  const ShardPlan plan = manifest_plan(manifest);
  return {{"format", manifest.at("format")},
          {"first_row", plan.first_row(index)},
          {"rows", plan.rows_of(index)},
          {"block_rows", manifest.at("block_rows")},
          {"provenance", manifest.at("provenance")},
          {"columns", manifest.at("columns")}};
}

namespace {

/// A shard that is there and has this header and these columns, open; else nothing, and `why`.
std::optional<RowShard> open_complete_shard(const std::filesystem::path& path, const ShardHeader& expected,
                                            const std::vector<Column>& columns, std::string& why) {
  why = "missing";
  if (!fs::exists(path)) return std::nullopt;
  try {
    RowShard shard(path, expected.format);
    why = facts_difference(shard_facts(shard.header(), shard.columns()), shard_facts(expected, columns));
    if (why.empty()) return shard;
  } catch (const Error& error) {
    why = error.what();
  }
  return std::nullopt;
}

}  // namespace

bool shard_is_complete(const std::filesystem::path& directory, const ShardPlan& plan, std::int64_t index,
                       const ShardHeader& expected, const std::vector<Column>& columns, std::string& why) {
  return open_complete_shard(directory / shard_name(index, plan.shards()), expected, columns, why).has_value();
}

std::string content_hash(const json& manifest) {
  std::string hashes;
  for (const auto& shard : manifest.at("shards")) hashes += shard.at("hash").get<std::string>();
  return hash_text(hashes);
}

std::string table_hash(const std::filesystem::path& directory) {
  if (!fs::exists(directory / manifest_name)) return "";
  try {
    return content_hash(load_manifest(directory, ""));
  } catch (const Error&) {
    return "";
  }
}

void publish_manifest(const std::filesystem::path& directory, const ShardPlan& plan, const std::string& format,
                      const nlohmann::json& summary) {
  check_plan(directory, plan);
  const RowShard first(directory / shard_name(0, plan.shards()), format);
  json list = json::array();
  int newest = 1;
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    ShardHeader expected = first.header();
    expected.first_row = plan.first_row(index);
    expected.rows = plan.rows_of(index);
    const std::filesystem::path path = directory / shard_name(index, plan.shards());
    std::string why;
    const std::optional<RowShard> shard = open_complete_shard(path, expected, first.columns(), why);
    if (!shard) {
      fail("{}: the table cannot be closed: {} against {}: {}", directory.string(), shard_name(index, plan.shards()),
           shard_name(0, plan.shards()), why);
    }
    newest = std::max(newest, shard->header().format_version);
    list.push_back({{"name", shard_name(index, plan.shards())},
                    {"first_row", expected.first_row},
                    {"rows", expected.rows},
                    {"bytes", fs::file_size(path)},
                    {"hash", content_hash(*shard)}});
  }
  json manifest = {{"format", format},
                   {"format_version", newest_manifest_version},
                   {"shard_format_version", newest},
                   {"program_version", COUPLET_VERSION},
                   {"rows", plan.rows},
                   {"shard_rows", plan.shard_rows},
                   {"block_rows", first.header().block_rows},
                   {"columns", columns_to_json(first.columns())},
                   {"provenance", first.header().provenance},
                   {"summary", summary},
                   {"shards", std::move(list)}};
  manifest["hash"] = manifest_hash(manifest);
  publish_file(directory / manifest_name, manifest.dump(2) + "\n");
}

}  // namespace couplet
