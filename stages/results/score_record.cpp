#include "stages/results/score_record.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/json_text.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace couplet {
namespace {

nlohmann::json key_fields(const ScoreKey& key, const std::string& metric) {
  nlohmann::json fields = {{"model", key.model},       {"coupling", key.coupling},
                           {"seed", key.seed},         {"solver", key.solver},
                           {"grid", key.grid},         {"nfe", key.nfe},
                           {"noise", key.noise},       {"split", key.split},
                           {"guidance", key.guidance}, {"guidance_interval", {key.guidance_from, key.guidance_to}},
                           {"denoised", key.denoised}, {"metric", metric}};
  if (key.model == "student") fields.update({{"student", key.student}, {"ema", key.ema}});
  if (key.is_adaptive()) fields.update({{"atol", key.atol}, {"rtol", key.rtol}});
  if (!key.table.empty()) fields["table"] = key.table;
  if (key.noise == "fresh") fields["sampling_seed"] = key.sampling_seed;
  // Records from before there were others do not say theirs.
  if (key.temperature != 1) fields["temperature"] = key.temperature;
  if (key.candidates != 1) fields["candidates"] = key.candidates;
  return fields;
}

/// Fields that came later: what they are of a record without them.
bool has_later_fields(const nlohmann::json& record, const ScoreKey& key) {
  return record.value("candidates", std::int64_t{1}) == key.candidates &&
         record.value("temperature", 1.0) == key.temperature;
}

/// Checks that each record is an object, and so is what it was made with, where it says that.
void require_objects(const nlohmann::json& records, const fs::path& path) {
  for (std::size_t index = 0; index < records.size(); ++index) {
    const nlohmann::json& record = records[index];
    if (!record.is_object() || !record.value("made_with", nlohmann::json::object()).is_object())
      fail("{}: record {} is {}, expected an object, with an object under 'made_with'", path.string(), index,
           json_excerpt(record));
  }
}

nlohmann::json read_record_list(const fs::path& path) {
  const std::string text = read_file(path);
  try {
    nlohmann::json records =
        json_member<nlohmann::json::array_t>(parse_json(text, path.string()), "records", path.string());
    require_objects(records, path);
    return records;
  } catch (const Error& error) {
    fail("{}; there is no list of records in it: remove the file to score again", error.what());
  }
}

void publish_records(const fs::path& path, const nlohmann::json& records) {
  publish_file(path, nlohmann::json{{"records", records}}.dump(1) + "\n");
}

/// The fields of one record, with their types checked.
class Fields {
public:
  Fields(const nlohmann::json& json, std::size_t index) : json_(json), index_(index) {}

  template <class Value>
  Value get(const char* name, Value otherwise) const {
    const auto found = json_.find(name);
    if (found == json_.end() || found->is_null()) return otherwise;
    if (auto value = json_as<Value>(*found)) return *std::move(value);
    fail("record {} of the results has {} = {}, which is of another type", index_, name, json_excerpt(*found));
  }
  std::string text(const char* name) const { return get<std::string>(name, ""); }
  std::int64_t count(const char* name) const { return get<std::int64_t>(name, 0); }

private:
  const nlohmann::json& json_;
  std::size_t index_;
};

double read_uncertainty(const Fields& fields) {
  for (const char* name : {"standard_error", "subset_sd", "split_sd"}) {
    const double found = fields.get<double>(name, 0);
    if (found > 0 && std::isfinite(found)) return found;
  }
  return 0;
}

ScoreRecord parsed_record(const Fields& fields) {
  ScoreRecord record;
  record.model = fields.text("model");
  record.coupling = fields.text("coupling");
  record.student = fields.get<std::string>("student", record.coupling);
  record.table = fields.text("table");
  record.ema = fields.get<double>("ema", -1);
  record.solver = fields.text("solver");
  record.grid = fields.text("grid");
  record.metric = fields.text("metric");
  record.noise = fields.text("noise");
  record.split = fields.text("split");
  record.network = fields.text("network");
  record.network_hash = fields.text("network_hash");
  record.resize = fields.text("resize");
  record.seed = fields.count("seed");
  record.sampling_seed = fields.count("sampling_seed");
  record.nfe = fields.count("nfe");
  record.samples = fields.count("samples");
  record.bad_samples = fields.count("nonfinite_samples");
  record.guidance = fields.get<double>("guidance", 1);
  const auto interval = fields.get<std::vector<double>>("guidance_interval", {});
  if (interval.size() == 2) {
    record.guidance_from = interval[0];
    record.guidance_to = interval[1];
  }
  record.temperature = fields.get<double>("temperature", 1);
  record.candidates = fields.get<std::int64_t>("candidates", 1);
  record.atol = fields.get<double>("atol", 0);
  record.rtol = fields.get<double>("rtol", 0);
  record.denoised = fields.get<bool>("denoised", false);
  record.value = fields.get<double>("value", std::nan(""));
  record.uncertainty = read_uncertainty(fields);
  record.trace = fields.text("trace");
  record.times = fields.get<std::vector<double>>("times", {});
  record.deviation = fields.get<std::vector<double>>("deviation", {});
  record.made_with = fields.get<nlohmann::json>("made_with", {});
  if (record.model == "student" && record.noise.empty()) record.noise = "fresh";
  return record;
}

}  // namespace

Records::Records(const std::filesystem::path& directory, nlohmann::json facts)
    : path_(directory / "records.json"), facts_(std::move(facts)) {
  if (fs::exists(path_)) records_ = read_record_list(path_);
}

std::optional<nlohmann::json> Records::find(const ScoreKey& key, const std::string& metric,
                                            const MadeWith& with) const {
  nlohmann::json wanted = key_fields(key, metric);
  if (key.is_adaptive()) wanted.erase("nfe");
  wanted["made_with"] = with;
  for (const nlohmann::json& record : records_) {
    const bool found = std::all_of(wanted.items().begin(), wanted.items().end(), [&](const auto& field) {
      return record.contains(field.key()) && record[field.key()] == field.value();
    });
    if (found && has_later_fields(record, key)) return record;
  }
  return std::nullopt;
}

void Records::add(const ScoreKey& key, const std::string& metric, const MadeWith& with, double value,
                  std::int64_t samples, const ScoreNetwork& network, std::int64_t nonfinite,
                  const nlohmann::json& details) {
  nlohmann::json record = key_fields(key, metric);
  // JSON has no NaN: a figure that is not finite is null, and says so.
  record["value"] = std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
  record["samples"] = samples;
  record["network"] = network.name;
  record["network_hash"] = network.hash;
  record["resize"] = network.resize;
  record["nonfinite_samples"] = nonfinite;
  record["made_with"] = with;
  record.update(facts_);
  record.update(details);
  records_.push_back(record);
}

bool Records::forget(const std::vector<std::string>& nodes) {
  nlohmann::json kept = nlohmann::json::array();
  for (const nlohmann::json& record : records_) {
    const auto with = record.value("made_with", nlohmann::json::object());
    const bool goes = std::ranges::any_of(nodes, [&](const std::string& node) { return with.contains(node); });
    if (!goes) kept.push_back(record);
  }
  const bool any = kept.size() < records_.size();
  records_ = std::move(kept);
  return any;
}

void Records::publish() const {
  publish_records(path_, records_);
}

std::string identity_text(const ScoreKey& key, const std::string& metric, const MadeWith& with) {
  nlohmann::json fields = key_fields(key, metric);
  fields["made_with"] = with;
  return fields.dump();
}

MadeWith settings_now(const StageNode& node, const StageGraph& graph) {
  MadeWith now = node.settings;
  for (const auto& names : {node.inputs, node.after})
    for (const std::string& name : names) now[name] = find_node(graph, name).fingerprint;
  return now;
}

nlohmann::json current_results(const RunView& view) {
  nlohmann::json all = nlohmann::json::array();
  bool any = false;
  for (const StageNode& node : view.graph) {
    const fs::path path = view.run.stage(node.name) / "records.json";
    if (node.kind != "evaluate" || !fs::exists(path)) continue;
    any = true;
    const nlohmann::json now = settings_now(node, view.graph);
    for (nlohmann::json& record : read_record_list(path)) {
      const auto with = record.value("made_with", nlohmann::json::object());
      // Those of before say nothing of dopri5's rule of steps, which was another.
      if (record.value("solver", "") == "dopri5" && now.contains(solver_setting) && !with.contains(solver_setting))
        continue;
      const bool holds = std::all_of(with.items().begin(), with.items().end(), [&](const auto& setting) {
        return now.contains(setting.key()) && now[setting.key()] == setting.value();
      });
      if (holds) all.push_back(std::move(record));
    }
  }
  return any ? nlohmann::json{{"records", all}} : nlohmann::json();
}

void publish_results(const RunView& view) {
  const nlohmann::json results = current_results(view);
  if (!results.is_null()) publish_records(view.run.results(), results["records"]);
}

std::string ScoreRecord::reference_hash() const {
  const auto found = made_with.find("evaluate.reference");
  return found != made_with.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<ScoreRecord> read_records(const nlohmann::json& results, const std::string& run) {
  std::vector<ScoreRecord> records;
  if (!results.is_object()) return records;
  const auto found = results.find("records");
  if (found == results.end()) return records;
  if (!found->is_array()) fail("the results have no list of records, but {}", found->type_name());
  for (std::size_t index = 0; index < found->size(); ++index) {
    const nlohmann::json& json = (*found)[index];
    if (!json.is_object()) fail("record {} of the results is {}, no object", index, json_excerpt(json));
    records.push_back(parsed_record({json, index}));
    records.back().run = run;
  }
  return records;
}

}  // namespace couplet
