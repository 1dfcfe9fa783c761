#include "storage/tables/table_check.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/filenames.h"
#include "storage/tables/shard_scan.h"

#include <algorithm>
#include <map>
#include <set>

namespace couplet {
namespace {

using nlohmann::json;

/// The text of an error without the path it begins with: a problem stands behind its file's name.
std::string without_path(const std::string& text, const fs::path& path) {
  const std::string prefix = path.string() + ": ";
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

/// How many shards the names in a directory speak of: the number that most of them have.
std::int64_t shards_by_name(const std::vector<std::string>& names) {
  std::map<std::int64_t, int> votes;
  for (const std::string& name : names)
    if (const auto parsed = parse_shard_name(name)) ++votes[parsed->shards];
  const auto most = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  return most == votes.end() ? 0 : most->first;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    if (!entry.is_directory()) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

void survey_shards(TableSurvey& survey, const std::vector<std::string>& names) {
  const std::set<std::string> there(names.begin(), names.end());
  for (std::int64_t index = 0; index < survey.shards; ++index) {
    const std::string name = shard_name(index, survey.shards);
    if (there.contains(name)) continue;
    std::string rows;
    if (survey.manifest) {
      const ShardPlan plan = manifest_plan(*survey.manifest);
      rows = fmt::format(": rows {} to {} are a hole", plan.first_row(index),
                         plan.first_row(index) + plan.rows_of(index) - 1);
    }
    survey.problems.push_back({name, "missing" + rows});
  }
  for (const std::string& name : names) {
    const auto parsed = parse_shard_name(name);
    if (parsed && parsed->shards != survey.shards) {
      survey.problems.push_back(
          {name, fmt::format("belongs to a table of {} shards, this one has {}", parsed->shards, survey.shards)});
    } else if (!parsed && name.ends_with(".h5") && !name.starts_with(".")) {
      survey.problems.push_back({name, "is no shard of this table"});
    }
  }
}

/// Facts that shard `index` must have: as the manifest lists them, else as those of the first other shard that can be
/// read. Nothing where there is none.
json expected_facts(const TableSurvey& survey, std::int64_t index, const json& found) {
  if (survey.manifest) return listed_facts(*survey.manifest, index);
  for (std::int64_t other = 0; other < survey.shards; ++other) {
    const fs::path path = survey.directory / shard_name(other, survey.shards);
    if (other == index || !fs::exists(path)) continue;
    try {
      const RowShard shard = open_foreign_shard(path, "");
      json expected = shard_facts(shard.header(), shard.columns());
      const bool other_is_full = other + 1 < survey.shards, is_last = index + 1 == survey.shards;
      const std::int64_t shard_rows = other_is_full ? shard.header().rows : found.at("rows").get<std::int64_t>();
      expected["first_row"] = index * shard_rows;
      // Without a manifest nobody knows how many rows the last shard has.
      expected["rows"] = is_last ? found.at("rows").get<std::int64_t>() : shard_rows;
      return expected;
    } catch (const Error&) {
      continue;  // a problem of that shard, told when it is its turn
    }
  }
  return found;
}

/// Collects the problems of one file.
class FileCheck {
public:
  explicit FileCheck(fs::path path) : path_(std::move(path)) {}

  /// Opens the shard and hands it to `check`; what is thrown is a problem too.
  std::vector<Problem> run(const std::string& format, const std::function<void(const RowShard&)>& check) {
    try {
      check(open_foreign_shard(path_, format));
    } catch (const Error& error) {
      add(without_path(error.what(), path_));
    }
    return std::move(problems_);
  }

  bool sound() const { return problems_.empty(); }
  void add(std::string what) { problems_.push_back({path_.filename().string(), std::move(what)}); }

  void check_place(const RowShard& shard, const json& expected) {
    const std::string text = facts_difference(shard_facts(shard.header(), shard.columns()), expected);
    if (!text.empty()) add("is not the shard that belongs here: " + text);
  }

  /// Checksums and values. Returns the file's content hash.
  std::string check_bytes(const RowShard& shard) {
    ShardScan scan = scan_shard(shard);
    for (const RowRange& rows : scan.damaged) {
      add(fmt::format("column '{}' is damaged in {}: the checksum differs", shard.columns()[rows.column].name,
                      rows_text(shard, rows)));
    }
    // Rows that the shard's own summary owns up to (couple.allow-nonfinite) are no damage.
    std::set<std::int64_t> bad_rows;
    for (const RowRange& rows : scan.nonfinite)
      for (std::int64_t row = rows.first; row <= rows.last; ++row) bad_rows.insert(row);
    const json& summary = shard.summary();
    const std::int64_t owned_up = summary.is_object() && summary.contains("nonfinite_rows")
                                      ? json_as<std::int64_t>(summary.at("nonfinite_rows")).value_or(0)
                                      : 0;
    if (static_cast<std::int64_t>(bad_rows.size()) != owned_up) {
      for (const RowRange& rows : scan.nonfinite) {
        add(fmt::format("column '{}' holds NaN or infinite values in {}", shard.columns()[rows.column].name,
                        rows_text(shard, rows)));
      }
    }
    return std::move(scan.content_hash);
  }

  void check_rules(const RowShard& shard, const RowRules& rules) {
    if (!sound() || !rules) return;
    for (std::string& what : rules(shard)) add(std::move(what));
  }

private:
  static std::string rows_text(const RowShard& shard, const RowRange& rows) {
    const std::int64_t first = shard.header().first_row;
    if (rows.first == rows.last) return fmt::format("row {} (row {} of the table)", rows.first, first + rows.first);
    return fmt::format("rows {} to {} (rows {} to {} of the table)", rows.first, rows.last, first + rows.first,
                       first + rows.last);
  }

  fs::path path_;
  std::vector<Problem> problems_;
};

}  // namespace

TableSurvey survey_table(const std::filesystem::path& directory) {
  if (!fs::is_directory(directory)) refuse("{}: is no directory of a table", directory.string());
  TableSurvey survey{directory, std::nullopt, 0, {}};
  const std::vector<std::string> names = names_in(directory);
  const bool has_manifest = std::ranges::find(names, manifest_name) != names.end();
  if (!has_manifest && shards_by_name(names) == 0)
    refuse("{}: holds no table: neither {} nor a shard", directory.string(), manifest_name);
  if (!has_manifest) {
    survey.problems.push_back({manifest_name, "missing: the table is not finished"});
  } else {
    try {
      survey.manifest = load_manifest(directory, "");
    } catch (const Error& error) {
      survey.problems.push_back({manifest_name, without_path(error.what(), directory / manifest_name)});
    }
  }
  survey.shards = survey.manifest ? manifest_plan(*survey.manifest).shards() : shards_by_name(names);
  survey_shards(survey, names);
  return survey;
}

std::vector<Problem> check_shard(const TableSurvey& survey, std::int64_t index, bool quick, const RowRules& rules) {
  const fs::path path = survey.directory / shard_name(index, survey.shards);
  if (!fs::exists(path)) return {};
  FileCheck file(path);
  const std::string format = survey.manifest ? survey.manifest->at("format").get<std::string>() : "";
  return file.run(format, [&](const RowShard& shard) {
    file.check_place(shard, expected_facts(survey, index, shard_facts(shard.header(), shard.columns())));
    if (survey.manifest) {
      const json& entry = survey.manifest->at("shards").at(static_cast<std::size_t>(index));
      const auto bytes = entry.at("bytes").get<std::uint64_t>();
      if (const std::uint64_t size = shard.file().size(); size != bytes)
        file.add(fmt::format("has {} bytes, the manifest lists {}", size, bytes));
    }
    if (quick) return;
    const std::string hash = file.check_bytes(shard);
    if (survey.manifest && file.sound()) {
      const json& listed = survey.manifest->at("shards").at(static_cast<std::size_t>(index)).at("hash");
      if (hash != listed)
        file.add(
            fmt::format("its content hash is {}, the manifest lists {}: bytes outside the rows were changed, the "
                        "shard was replaced, or the manifest is an old one",
                        hash, listed.get<std::string>()));
    }
    file.check_rules(shard, rules);
  });
}

std::vector<Problem> check_file(const std::filesystem::path& path, bool quick, const RowRules& rules) {
  FileCheck file(path);
  return file.run("", [&](const RowShard& shard) {
    if (quick) return;
    file.check_bytes(shard);
    file.check_rules(shard, rules);
  });
}

}  // namespace couplet
