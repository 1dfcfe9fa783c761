#include "stages/external_inputs.h"

#include "pipeline/config/options.h"
#include "pipeline/liveness/activity.h"
#include "stages/cost/dataset_size.h"
#include "stages/data/run_source.h"
#include "stages/data/run_tables.h"
#include "storage/error.h"
#include "storage/files/file_hashes.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"
#include "storage/text.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

namespace couplet {

namespace {

/// Hashing reads files alone: a folder would only be found out while it is read.
void require_file(const std::string& key, const fs::path& path) {
  std::error_code error;
  const fs::file_status there = fs::status(path, error);
  if (fs::exists(there) && !fs::is_regular_file(there))
    refuse("{}: {} is {}, where a file is expected; name the file", key, path.string(),
           fs::is_directory(there) ? "a folder" : "no regular file");
}

/// A path, and the key that holds it.
struct NamedPath {
  std::string key, path;
};

/// The paths that result keys hold, the data set's source and tables aside.
std::vector<NamedPath> paths_of(const Config& config) {
  std::vector<NamedPath> paths;
  for (const Option& option : options()) {
    if (!option.is_path || option.kind != OptionKind::result) continue;
    if (option.section() == "prepare" || option.section() == "couple") continue;
    paths.push_back({option.key, value_text(config, option.key)});
    if (option.section() != "student") continue;
    for (const std::string& name : config.compare)
      paths.push_back(
          {fmt::format("student.{}.{}", name, option.name()), value_text(student_config(config, name), option.key)});
  }
  return paths;
}

/// Of what lies at prepare.source; where that is gone, of what it held when it was last looked at.
std::string source_hash(const PrepareConfig& config, const RunDirectory& run, FileHashes& hashes) {
  if (config.source.empty() && lies_somewhere(config))
    refuse("prepare.source is empty: name the folder or the file in which the images lie");
  const fs::path key = fs::path(config.source) / "";  // no file's own
  const std::string known = is_there(config.source) ? "" : hashes.noted(key);
  if (!known.empty()) return known;
  std::vector<fs::path> files;
  for (const SourceFile& file : source_files(config)) {
    require_file(file.key, file.path);
    files.push_back(file.path);
  }
  if (files.empty() && !lies_somewhere(config)) {
    const ImageSource made = open_source(config, run);
    return hash_text(made.train->content_hash() + "\n" + made.test->content_hash());
  }
  std::string hash;
  if (files.empty()) {
    const ImageSource source = open_source(config, run);
    hash = hash_text(source.train->content_hash() + "\n" + source.test->content_hash());
  } else {
    hash = hashes.of(files);
  }
  if (!hash.empty()) hashes.note(key, hash);
  return hash;
}

/// The directories of tables that were made elsewhere.
std::vector<std::string> adopted_tables(const Config& config) {
  std::vector<std::string> sources;
  for (const RunTable& table : run_tables(config))
    if (const std::string source = couple_config(config, table.name).source; !source.empty()) sources.push_back(source);
  return sources;
}

/// A table is what its manifests say, which list the hashes of its shards.
std::string table_hash(const std::string& source, FileHashes& hashes) {
  const fs::path directory = source;
  std::vector<fs::path> manifests;
  if (fs::exists(directory / "train"))
    for (const char* split : {"train", "test"}) {
      if (fs::exists(directory / split)) manifests.push_back(directory / split / manifest_name);
    }
  else
    manifests.push_back(directory / manifest_name);
  return hashes.of(manifests);
}

/// By the source, from which a run may be about to be made anew; by what was prepared of it where it is gone.
bool has_classes(const Config& config, const RunDirectory& run) {
  try {
    return open_source(config.prepare, run).classes >= 2;
  } catch (const Error&) {
    try {
      const auto images = prepared_images(run);
      return !images || images->shape.classes >= 2;
    } catch (const Error&) {
      return true;
    }
  }
}

}  // namespace

ExternalInputs look_at_inputs(const Config& config, const RunDirectory& run) {
  FileHashes files(run.file_hashes());
  ExternalInputs inputs;
  inputs.source = source_hash(config.prepare, run, files);
  for (const auto& [key, path] : paths_of(config)) {
    if (path.empty()) continue;
    require_file(key, path);
    inputs.hashes[path] = files.of(path);
  }
  for (const std::string& source : adopted_tables(config)) {
    inputs.hashes[source] = table_hash(source, files);
    if (inputs.hashes[source].empty())
      refuse("couple.NAME.source = {}: there is no coupling table; give the directory that couplet import made",
             source);
  }
  if (std::filesystem::exists(run.root())) files.keep();
  if (config.evaluate.network.empty()) inputs.has_classes = has_classes(config, run);
  return inputs;
}

ExternalInputs look_at_inputs(const Config& config, const RunDirectory& run, Communicator& communicator) {
  std::string text;
  if (communicator.is_root()) {
    const WorkingAlone alone("hashing the files that the configuration names");
    const ExternalInputs found = look_at_inputs(config, run);
    // By paths as JSON can hold them.
    std::map<std::string, std::string> hashes;
    for (const auto& [path, hash] : found.hashes) hashes[utf8_text(path)] = hash;
    text = nlohmann::json{{"source", found.source}, {"hashes", hashes}, {"has_classes", found.has_classes}}.dump();
  }
  const auto found = nlohmann::json::parse(communicator.broadcast_text(text, 0));
  ExternalInputs inputs{.source = found.at("source").get<std::string>(),
                        .has_classes = found.at("has_classes").get<bool>()};
  for (const auto& [key, path] : paths_of(config))
    if (!path.empty()) inputs.hashes[path] = found.at("hashes").at(utf8_text(path)).get<std::string>();
  for (const std::string& source : adopted_tables(config))
    inputs.hashes[source] = found.at("hashes").at(utf8_text(source)).get<std::string>();
  return inputs;
}

}  // namespace couplet
