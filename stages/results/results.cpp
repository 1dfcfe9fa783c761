#include "stages/results/results.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <algorithm>
#include <cmath>

namespace couplet {
namespace {

nlohmann::json key_fields(const RecordKey& key, const std::string& metric) {
  nlohmann::json fields = {{"model", key.model},       {"coupling", key.coupling},
                           {"seed", key.seed},         {"solver", key.solver},
                           {"grid", key.grid},         {"nfe", key.nfe},
                           {"noise", key.noise},       {"split", key.split},
                           {"guidance", key.guidance}, {"guidance_interval", {key.guidance_from, key.guidance_to}},
                           {"denoised", key.denoised}, {"metric", metric}};
  if (key.noise == "fresh") fields["sampling_seed"] = key.sampling_seed;
  return fields;
}

nlohmann::json read_records(const fs::path& path) {
  const nlohmann::json file = nlohmann::json::parse(read_file(path), nullptr, false);
  if (file.is_discarded() || !file.contains("records") || !file["records"].is_array()) {
    fail("{}: no list of records in it; remove the file to score again", path.string());
  }
  return file["records"];
}

void publish_records(const fs::path& path, const nlohmann::json& records) {
  publish_file(path, nlohmann::json{{"records", records}}.dump(1) + "\n");
}

}  // namespace

Records::Records(const std::filesystem::path& directory) : path_(directory / "records.json") {
  if (fs::exists(path_)) records_ = read_records(path_);
}

std::optional<nlohmann::json> Records::find(const RecordKey& key, const std::string& metric) const {
  nlohmann::json wanted = key_fields(key, metric);
  if (key.solver == "dopri5") wanted.erase("nfe");
  for (const nlohmann::json& record : records_) {
    const bool found = std::all_of(wanted.items().begin(), wanted.items().end(), [&](const auto& field) {
      return record.contains(field.key()) && record[field.key()] == field.value();
    });
    if (found) return record;
  }
  return std::nullopt;
}

void Records::add(const RecordKey& key, const std::string& metric, double value, std::int64_t samples,
                  const ScoreNetwork& network, std::int64_t nonfinite, const nlohmann::json& details) {
  nlohmann::json record = key_fields(key, metric);
  // JSON has no NaN: a figure that is not finite is null, and says so.
  record["value"] = std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
  record["samples"] = samples;
  record["network"] = network.name;
  record["network_hash"] = network.hash;
  record["resize"] = network.resize;
  record["nonfinite_samples"] = nonfinite;
  record.update(details);
  records_.push_back(record);
}

void Records::require_network(const ScoreNetwork& network) const {
  for (const nlohmann::json& record : records_) {
    const std::string hash = record.value("network_hash", "");
    if (record.value("metric", "") != "frechet_distance" || hash.empty() || hash == network.hash) continue;
    refuse("{}: holds Fréchet distances by {} ({}), but the network is now {} ({}); --redo evaluate scores anew",
           path_.string(), record.value("network", ""), hash, network.name, network.hash);
  }
}

void Records::publish() const {
  publish_records(path_, records_);
}

void merge_results(const RunDirectory& run, const std::vector<StageNode>& graph) {
  nlohmann::json all = nlohmann::json::array();
  for (const StageNode& node : graph) {
    const fs::path path = run.stage(node.name) / "records.json";
    if (node.kind != "evaluate" || !fs::exists(path)) continue;
    for (const nlohmann::json& record : read_records(path)) all.push_back(record);
  }
  publish_records(run.results(), all);
}

}  // namespace couplet
