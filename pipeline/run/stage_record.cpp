#include "pipeline/run/stage_record.h"

#include "pipeline/config/options.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace couplet {

// Not in the unnamed namespace: the JSON library looks for it beside the type.
NLOHMANN_JSON_SERIALIZE_ENUM(StageState, {{StageState::started, "started"},
                                          {StageState::complete, "complete"},
                                          {StageState::withdrawn, "withdrawn"}})

namespace {

constexpr int format_version = 1;
constexpr const char* record_name = "stage.json";
constexpr const char* lock_name = "lock";
constexpr const char* way_out = "move it away, or delete the stage's directory to make the stage again";

/// What a stage or an unfinished write made, as against what ownership needs.
bool is_content(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name != lock_name && name != record_name && !name.starts_with(".");
}

bool has_content(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory)) return false;
  return std::ranges::any_of(std::filesystem::directory_iterator(directory),
                             [](const auto& entry) { return is_content(entry.path()); });
}

/// "key: recorded X, now Y" for every entry that differs.
void add_differences(std::vector<std::string>& differences, const std::string& prefix,
                     const std::map<std::string, std::string>& recorded,
                     const std::map<std::string, std::string>& now) {
  std::map<std::string, std::string> names = recorded;
  names.insert(now.begin(), now.end());
  const auto text = [](const auto& values, const std::string& name) -> std::string {
    const auto found = values.find(name);
    if (found == values.end()) return "nothing";
    return found->second.empty() ? "empty" : found->second;
  };
  for (const auto& name : names) {
    const std::string before = text(recorded, name.first), after = text(now, name.first);
    if (before == after) continue;
    const std::string key = renamed_key(name.first);
    differences.push_back(
        fmt::format("{}{}: recorded {}, now {}", prefix, key.empty() ? name.first : key, before, after));
  }
}

/// True if nothing differs but the contents of files: `files` names the keys that hold their hashes.
bool only_files_differ(StageRecord recorded, StageRecord now, const std::set<std::string>& files) {
  for (const std::string& key : files) {
    recorded.keys.erase(key);
    now.keys.erase(key);
  }
  return recorded.keys == now.keys && recorded.inputs == now.inputs;
}

/// Runs what reads a damaged record; its error then says what to do.
template <class Work>
auto or_way_out(Work work) {
  try {
    return work();
  } catch (const Error& error) {
    fail("{}; {}", error.what(), way_out);
  }
}

StageRecord parse_record(const std::string& text, const std::string& what) {
  const nlohmann::json json = or_way_out([&] { return parse_json(text, what); });
  const auto read = [&]<class Value>(const char* key, Value& value) {
    value = or_way_out([&] { return json_member<Value>(json, key, what); });
  };
  std::string format;
  int version = 0;
  read("format", format);
  read("format_version", version);
  if (format != "couplet-stage") fail("{} is no stage record of Couplet", what);
  if (version > format_version)
    fail("{} has format version {}; this program (Couplet {}) reads up to {}", what, version, COUPLET_VERSION,
         format_version);
  StageRecord record;
  read("state", record.state);
  // The library takes a word that it does not know for the first one.
  if (json.at("state") != nlohmann::json(record.state))
    fail("{} has the unknown state {}; {}", what, json_excerpt(json.at("state")), way_out);
  read("stage", record.stage);
  read("fingerprint", record.fingerprint);
  read("keys", record.keys);
  read("inputs", record.inputs);
  read("program", record.program);
  read("seconds", record.seconds);
  read("attempts", record.attempts);
  read("ranks", record.ranks);
  read("running_since", record.running_since);
  return record;
}

}  // namespace

std::filesystem::path record_path(const std::filesystem::path& stage_directory) {
  return stage_directory / record_name;
}

std::optional<StageRecord> read_record(const std::filesystem::path& stage_directory) {
  const auto path = record_path(stage_directory);
  if (!std::filesystem::exists(path)) return std::nullopt;
  return parse_record(read_file(path), path.string());
}

void publish_record(const std::filesystem::path& stage_directory, const StageRecord& record) {
  const nlohmann::ordered_json json{{"format", "couplet-stage"},
                                    {"format_version", format_version},
                                    {"stage", record.stage},
                                    {"state", nlohmann::json(record.state)},
                                    {"fingerprint", record.fingerprint},
                                    {"keys", record.keys},
                                    {"inputs", record.inputs},
                                    {"program", record.program},
                                    {"attempts", record.attempts},
                                    {"seconds", record.seconds},
                                    {"running_since", record.running_since},
                                    {"ranks", record.ranks}};
  publish_file(record_path(stage_directory), json.dump(2) + "\n");
}

StageRecord new_record(const StageNode& node, const StageGraph& graph) {
  StageRecord record;
  record.stage = node.name;
  record.fingerprint = node.fingerprint;
  record.keys = node.keys;
  for (const std::string& input : node.inputs) record.inputs[input] = find_node(graph, input).fingerprint;
  record.program = COUPLET_VERSION;
  return record;
}

Decision decide(const StageNode& node, const StageGraph& graph, const RunDirectory& run) {
  const auto directory = run.stage(node.name);
  const auto record = read_record(directory);
  if (!record) {
    if (has_content(directory))
      refuse("{} holds files but no {}, so no stage of Couplet made them; move them away or choose another --run-dir",
             directory.string(), record_name);
    return {Action::start, "not started yet"};
  }
  if (record->state == StageState::withdrawn) return {Action::start, "its earlier result was withdrawn"};

  const StageRecord now = new_record(node, graph);
  std::vector<std::string> differences;
  add_differences(differences, "", record->keys, now.keys);
  add_differences(differences, "input ", record->inputs, now.inputs);
  const bool changed = !differences.empty() || record->fingerprint != now.fingerprint;
  if (changed && record->state == StageState::started && !has_content(directory) &&
      only_files_differ(*record, now, node.files))
    return {Action::start, "the files that it reads have changed, and it had made nothing yet"};
  if (changed)
    refuse(
        "{} was made with another configuration ({}); go back to it, choose another --run-dir, or delete {} and what "
        "is made from it by couplet run or submit with --redo {}",
        directory.string(), fmt::join(differences, "; "), node.name, node.name);
  if (record->state == StageState::complete) return {Action::skip, "complete, and its configuration is unchanged"};
  return {Action::resume,
          fmt::format("started before ({} so far)",
                      record->attempts == 1 ? "one attempt" : fmt::format("{} attempts", record->attempts))};
}

void require_inputs(const StageNode& node, const StageGraph& graph, const RunDirectory& run) {
  for (const auto& other : graph) {
    if (!node.runs_after(other.name) || decide(other, graph, run).action == Action::skip) continue;
    refuse("{} needs {}, which is not complete in {}; make it first: couplet stage {} --run-dir {}", node.name,
           other.name, run.root().string(), other.name, run.root().string());
  }
}

void clear_stage(const std::filesystem::path& stage_directory) {
  if (!std::filesystem::exists(stage_directory)) return;
  std::vector<std::filesystem::path> contents;
  for (const auto& entry : std::filesystem::directory_iterator(stage_directory))
    if (is_content(entry.path())) contents.push_back(entry.path());
  for (const auto& path : contents) std::filesystem::remove_all(path);
  sync_path(stage_directory);
}

void delete_stage(const StageNode& node, const RunDirectory& run) {
  const auto directory = run.stage(node.name);
  auto record = read_record(directory);
  if (!record) return;
  record->state = StageState::withdrawn;
  publish_record(directory, *record);
  clear_stage(directory);
  std::filesystem::remove(record_path(directory));
  sync_path(directory);
}

}  // namespace couplet
