#include "stages/report/data/provenance.h"

#include "method/data/dataset.h"
#include "method/data/latents.h"
#include "pipeline/config/options.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/results/score_record.h"
#include "storage/files/hash.h"
#include "storage/tables/table_manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/version.h>

#include <set>
#include <string>

namespace couplet {

namespace {

template <class Values>
std::string list(const Values& values) {
  return fmt::format("{}", fmt::join(values, ", "));
}

/// The networks of the scores: name, hash, resize.
std::set<std::string> networks(const std::vector<ScoreRecord>& records) {
  std::set<std::string> all;
  for (const ScoreRecord& record : records) {
    if (record.metric != "frechet_distance") continue;
    std::string text = record.network;
    if (!record.network_hash.empty()) text += ", hash " + record.network_hash;
    if (!record.resize.empty()) text += ", resize: " + record.resize;
    all.insert(text);
  }
  return all;
}

/// What the samples of the scores were compared with: the file with the hash that it had.
std::string reference(const std::vector<ScoreRecord>& records, const Config& config) {
  const std::string& file = config.evaluate.reference;
  if (file.empty())
    return has_latents(config) && !encodes_images(config) ? "the training latents, decoded" : "the training images";
  std::set<std::string> hashes;
  for (const ScoreRecord& record : records)
    if (const std::string hash = record.reference_hash(); !hash.empty()) hashes.insert(hash);
  return hashes.empty() ? file : file + ", hash " + list(hashes);
}

/// Versions of the program that made the stages.
std::set<std::string> programs(const std::vector<nlohmann::json>& stages) {
  std::set<std::string> versions;
  for (const nlohmann::json& stage : stages) {
    if (stage.contains("program") && stage["program"].is_string()) versions.insert(stage["program"].get<std::string>());
  }
  return versions;
}

}  // namespace

std::vector<Fact> provenance(const RunView& view, const nlohmann::json& results,
                             const std::vector<nlohmann::json>& stages) {
  const RunDirectory& run = view.run;
  const Config& config = view.config;
  std::vector<Fact> facts;
  const auto add = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) facts.push_back({name, text});
  };
  const auto add_file = [&](const std::string& name, const std::filesystem::path& file) {
    if (std::filesystem::exists(file)) add(name, hash_file(file));
  };
  const auto version = programs(stages);
  add("made by", version.empty() ? "" : "couplet " + list(version));
  add("LibTorch of what wrote this page", TORCH_VERSION);
  add("training images, " + dataset_name(config.prepare), table_hash(run.train_images()));
  if (!table_hash(run.train_images()).empty())
    add("crop", crop_of(load_manifest(run.train_images(), dataset_format).at("provenance")));
  add("held-out images", table_hash(run.test_images()));
  if (has_latents(config)) {
    if (encodes_images(config)) add("latents of the training images", table_hash(run.latents("train")));
    add_file("program of the latents", seen_rows(config, run, "train").parent_path() / latent_script_name);
  }
  const std::vector<ScoreRecord> records = read_records(results);
  add("feature network", list(networks(records)));
  add("samples are compared with", reference(records, config));
  add_file("built-in classifier", run.classifier());
  add_file("second classifier, of losses", run.loss_classifier());
  for (const StageNode& node : view.graph) {
    if (node.kind == "autoencoder") add_file("codec", run.autoencoder_codec());
    if (node.kind == "teacher") add_file("teacher", run.teacher_ema());
    if (!node.table.empty()) {
      add("coupling table " + node.table, table_hash(table_directory(config, run, node.table, "train")));
      add("coupling table " + node.table + ", held-out", table_hash(table_directory(config, run, node.table, "test")));
    }
    if (node.kind == "student")
      add_file("student " + model_name(node.student, node.seed), run.stage(node.name) / "ema.safetensors");
  }
  add("seed of the run", std::to_string(config.pipeline.seed));
  add("ranks", std::to_string(config.pipeline.ranks));
  return facts;
}

}  // namespace couplet
