#include "storage/row_table.h"

#include "storage/atomic_file.h"
#include "storage/error.h"
#include "storage/filenames.h"
#include "storage/hash.h"

#include <sys/resource.h>

#include <algorithm>
#include <set>

namespace couplet {
namespace {

using nlohmann::json;

constexpr int newest_manifest_version = 1;

/// "teacher.hash: "a" against "b"" for each key, at most five, in which two JSON values differ; empty if they are
/// equal.
std::string difference(const json& found, const json& expected) {
  if (found == expected) return {};
  const json left = json{{"", found}}.flatten();
  const json right = json{{"", expected}}.flatten();
  std::set<std::string> keys;
  for (const auto& [key, value] : left.items()) keys.insert(key);
  for (const auto& [key, value] : right.items()) keys.insert(key);
  constexpr int most = 5;
  int count = 0;
  std::string text;
  for (const std::string& key : keys) {
    const bool here = left.contains(key);
    const bool there = right.contains(key);
    if (here && there && left[key] == right[key]) continue;
    if (++count > most) continue;
    std::string name = key.size() > 2 ? key.substr(2) : "value";
    std::ranges::replace(name, '/', '.');
    text += fmt::format("{}{} is {}, expected {}", count > 1 ? "; " : "", name, here ? left[key].dump() : "absent",
                        there ? right[key].dump() : "absent");
  }
  if (count > most) text += fmt::format("; and {} more", count - most);
  return text;
}

json column_to_json(const Column& column) {
  return {
      {"name", column.name}, {"type", element_name(column.type)}, {"shape", column.shape}, {"meaning", column.meaning}};
}

json columns_to_json(const std::vector<Column>& columns) {
  json list = json::array();
  for (const Column& column : columns) list.push_back(column_to_json(column));
  return list;
}

/// Everything about a shard that is the same in all shards of a table, and its place.
json facts_of(const ShardHeader& header, const std::vector<Column>& columns) {
  // Through text, as files keep it: numbers that JSON cannot hold compare as what they become.
  return json::parse(json{{"format", header.format},
                          {"format_version", header.format_version},
                          {"first_row", header.first_row},
                          {"rows", header.rows},
                          {"block_rows", header.block_rows},
                          {"provenance", header.provenance},
                          {"columns", columns_to_json(columns)}}
                         .dump());
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

json load_manifest(const std::filesystem::path& path, const std::string& expected_format) {
  if (!fs::exists(path)) {
    fail("{}: does not exist: the table is not finished, or this is no table; finish or resume the stage that makes it",
         path.string());
  }
  try {
    json manifest = json::parse(read_file(path));
    const auto format = manifest.at("format").get<std::string>();
    if (!expected_format.empty() && format != expected_format) {
      fail("{}: is a table of format '{}', expected '{}'", path.string(), format, expected_format);
    }
    const auto version = manifest.at("format_version").get<std::int64_t>();
    if (version < 1 || version > newest_manifest_version) {
      fail(
          "{}: has format version {} (written by Couplet {}), but this is Couplet {}, which reads up to version {}; "
          "use a newer Couplet",
          path.string(), version, manifest.at("program_version").get<std::string>(), COUPLET_VERSION,
          newest_manifest_version);
    }
    if (manifest.at("hash") != manifest_hash(manifest)) {
      fail("{}: was damaged or edited: its hash is {}, its content has {}", path.string(), manifest.at("hash").dump(),
           manifest_hash(manifest));
    }
    return manifest;
  } catch (const json::exception& error) {
    fail("{}: is no manifest of a table, or damaged: {}", path.string(), error.what());
  }
}

/// Opens one shard of a finished table and checks it against the manifest.
RowShard open_listed_shard(const std::filesystem::path& directory, const json& manifest, const ShardPlan& plan,
                           std::int64_t index) {
  const json& entry = manifest.at("shards").at(static_cast<std::size_t>(index));
  const std::filesystem::path path = directory / shard_name(index, plan.shards());
  if (entry.at("name") != shard_name(index, plan.shards())) {
    fail("{}: lists {} as shard {}, expected {}", (directory / manifest_name).string(), entry.at("name").dump(), index,
         shard_name(index, plan.shards()));
  }
  if (!fs::exists(path)) {
    fail("{}: is missing, but {} lists it; make it again", path.string(), (directory / manifest_name).string());
  }
  RowShard shard(path, manifest.at("format").get<std::string>());
  const json found = facts_of(shard.header(), shard.columns());
  const json expected = {
      {"format", manifest.at("format")},         {"format_version", manifest.at("shard_format_version")},
      {"first_row", plan.first_row(index)},      {"rows", plan.rows_of(index)},
      {"block_rows", manifest.at("block_rows")}, {"provenance", manifest.at("provenance")},
      {"columns", manifest.at("columns")}};
  if (const std::string text = difference(found, expected); !text.empty()) {
    fail("{}: does not belong to the table of {}: {}", path.string(), (directory / manifest_name).string(), text);
  }
  const auto bytes = entry.at("bytes").get<std::uint64_t>();
  if (const auto size = fs::file_size(path); size != bytes) {
    fail("{}: has {} bytes, {} lists {}; the shard was replaced", path.string(), size,
         (directory / manifest_name).string(), bytes);
  }
  return shard;
}

/// Each open shard holds a file: asks for as many as the system allows.
void allow_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

std::int64_t ShardPlan::rows_of(std::int64_t shard) const {
  return std::min(shard_rows, rows - first_row(shard));
}

bool shard_is_complete(const std::filesystem::path& directory, const ShardPlan& plan, std::int64_t index,
                       const ShardHeader& expected, const std::vector<Column>& columns, std::string& why) {
  const std::filesystem::path path = directory / shard_name(index, plan.shards());
  why.clear();
  if (!fs::exists(path)) {
    why = "missing";
    return false;
  }
  try {
    const RowShard shard(path, expected.format);
    why = difference(facts_of(shard.header(), shard.columns()), facts_of(expected, columns));
  } catch (const Error& error) {
    why = error.what();
  }
  return why.empty();
}

void publish_manifest(const std::filesystem::path& directory, const ShardPlan& plan, const std::string& format,
                      const nlohmann::json& summary) {
  check_plan(directory, plan);
  const RowShard first(directory / shard_name(0, plan.shards()), format);
  json list = json::array();
  for (std::int64_t index = 0; index < plan.shards(); ++index) {
    ShardHeader expected = first.header();
    expected.first_row = plan.first_row(index);
    expected.rows = plan.rows_of(index);
    std::string why;
    if (!shard_is_complete(directory, plan, index, expected, first.columns(), why)) {
      fail("{}: the table cannot be closed: {} against {}: {}", directory.string(), shard_name(index, plan.shards()),
           shard_name(0, plan.shards()), why);
    }
    const std::filesystem::path path = directory / shard_name(index, plan.shards());
    list.push_back({{"name", shard_name(index, plan.shards())},
                    {"first_row", expected.first_row},
                    {"rows", expected.rows},
                    {"bytes", fs::file_size(path)},
                    {"hash", hash_file(path)}});
  }
  json manifest = {{"format", format},
                   {"format_version", newest_manifest_version},
                   {"shard_format_version", first.header().format_version},
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

RowTable::RowTable(const std::filesystem::path& directory, const std::string& expected_format)
    : directory_(directory), manifest_(load_manifest(directory / manifest_name, expected_format)) {
  try {
    plan_ = {manifest_.at("rows").get<std::int64_t>(), manifest_.at("shard_rows").get<std::int64_t>()};
    block_rows_ = manifest_.at("block_rows").get<std::int64_t>();
    check_plan(directory, plan_);
    if (static_cast<std::size_t>(plan_.shards()) != manifest_.at("shards").size()) {
      fail("{}: lists {} shards, expected {} for {} rows", (directory / manifest_name).string(),
           manifest_.at("shards").size(), plan_.shards(), plan_.rows);
    }
    allow_open_files();
    for (std::int64_t i = 0; i < plan_.shards(); ++i) {
      shards_.push_back(open_listed_shard(directory, manifest_, plan_, i));
    }
  } catch (const json::exception& error) {
    fail("{}: is incomplete: {}", (directory / manifest_name).string(), error.what());
  }
}

std::string RowTable::content_hash() const {
  std::string hashes;
  for (const auto& entry : manifest_.at("shards")) hashes += entry.at("hash").get<std::string>();
  return hash_text(hashes);
}

void RowTable::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  if (first < 0 || count < 0 || count > rows() - first || column >= columns().size() ||
      out.size() != static_cast<std::size_t>(count) * columns()[column].row_bytes()) {
    fail("{}: cannot read {} rows from row {} of column number {} into {} bytes; it has {} rows and {} columns",
         directory_.string(), count, first, column, out.size(), rows(), columns().size());
  }
  const std::size_t row_bytes = columns()[column].row_bytes();
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t row = first + done;
    const std::int64_t index = row / plan_.shard_rows;
    const std::int64_t in_shard = row - plan_.first_row(index);
    const std::int64_t n = std::min(count - done, plan_.rows_of(index) - in_shard);
    shard(index).read(column, in_shard, n,
                      out.subspan(static_cast<std::size_t>(done) * row_bytes, static_cast<std::size_t>(n) * row_bytes));
    done += n;
  }
}

}  // namespace couplet
