#include "stages/results/score_record.h"

#include "storage/error.h"

#include <cmath>

namespace couplet {

namespace {

/// The fields of one record, with their types checked.
class Fields {
public:
  Fields(const nlohmann::json& json, std::size_t index) : json_(json), index_(index) {}

  template <class Value>
  Value get(const char* name, Value otherwise) const {
    const auto found = json_.find(name);
    if (found == json_.end() || found->is_null()) return otherwise;
    try {
      return found->get<Value>();
    } catch (const nlohmann::json::exception&) {
      fail("record {} of the results has {} = {}, which is of another type", index_, name, found->dump());
    }
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

ScoreRecord read_record(const Fields& fields) {
  ScoreRecord record;
  record.model = fields.text("model");
  record.coupling = fields.text("coupling");
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
  record.atol = fields.get<double>("atol", 0);
  record.rtol = fields.get<double>("rtol", 0);
  record.denoised = fields.get<bool>("denoised", false);
  record.value = fields.get<double>("value", std::nan(""));
  record.uncertainty = read_uncertainty(fields);
  record.trace = fields.text("trace");
  record.times = fields.get<std::vector<double>>("times", {});
  record.deviation = fields.get<std::vector<double>>("deviation", {});
  if (record.model == "student" && record.noise.empty()) record.noise = "fresh";
  return record;
}

}  // namespace

std::vector<ScoreRecord> read_records(const nlohmann::json& results, const std::string& run) {
  std::vector<ScoreRecord> records;
  if (!results.is_object()) return records;
  const auto found = results.find("records");
  if (found == results.end()) return records;
  if (!found->is_array()) fail("the results have no list of records, but {}", found->type_name());
  for (std::size_t index = 0; index < found->size(); ++index) {
    const nlohmann::json& json = (*found)[index];
    if (!json.is_object()) fail("record {} of the results is {}, no object", index, json.dump());
    records.push_back(read_record({json, index}));
    records.back().run = run;
  }
  return records;
}

}  // namespace couplet
