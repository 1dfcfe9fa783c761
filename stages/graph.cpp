#include "stages/graph.h"

#include "method/couplings/coupling.h"
#include "method/gaussianisation/gaussian_map.h"
#include "method/registry.h"
#include "method/solvers/dopri5.h"
#include "pipeline/config/options.h"
#include "stages/couple/table_makers.h"
#include "stages/data/run_tables.h"
#include "stages/data/seen_rows.h"
#include "stages/results/score_record.h"
#include "stages/trained/loss_network.h"
#include "stages/trained/models.h"

#include "storage/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

namespace couplet {

namespace {

/// Keys that have no section of their stage: what a stage of the kind depends on besides.
const std::vector<std::string> reproducible_keys{"pipeline.reproducible", "pipeline.slices"};
/// Of [couple], for a student that reads the data set: which rows it sees in which order, so that they are those of a
/// student of the table.
const std::vector<std::string> row_keys{"couple.flips", "couple.replicates", "couple.block-rows"};
/// Of [latents], for a data set of latents that were made elsewhere: in what form they are held.
const std::vector<std::string> form_keys{"latents.file", "latents.range", "latents.scale", "latents.shift",
                                         "latents.draw"};

std::string table_node(const std::string& table) {
  return "coupling/" + table;
}

std::string classifier_node(const std::string& table) {
  return "noise-classifier/" + table;
}

/// Trains the second flow on the noise of a table.
std::string gaussianiser_node(const std::string& table) {
  return "gaussianiser/" + table;
}

std::string student_node(const std::string& name, std::int64_t seed) {
  return "student/" + model_name(name, seed);
}

/// An option that came later enters no fingerprint at its default.
bool enters(const Option& option, const std::string& value) {
  return !option.came_later || value != option.default_text;
}

class GraphBuilder {
public:
  GraphBuilder(const Config& config, const ExternalInputs& inputs) : config_(config), inputs_(inputs) {}

  StageGraph build();

private:
  bool has_classifier() const { return config_.evaluate.network.empty() && inputs_.has_classes; }
  bool has_teacher() const { return look_for_node(graph_, "teacher") != nullptr; }

  StageNode& add(const std::string& name, const std::string& kind, std::vector<std::string> inputs,
                 std::vector<std::string> after = {});
  void add_key(StageNode& node, const std::string& key, const std::string& value) const;
  void add_keys(StageNode& node, const std::string& section) const;
  void add_computing_keys(StageNode& node) const;
  void add_training_keys(StageNode& node) const;
  bool is_file(const std::string& key, const std::string& value) const;
  std::string fingerprint_text(const std::string& key, const std::string& value) const;
  std::vector<std::string> with_data(std::vector<std::string> inputs) const;
  void need_latents();
  void need_teacher();
  void need_loss_classifier();
  void need_table(const RunTable& table);
  bool has_noise_classifiers() const;
  void measure_noise(const RunTable& table);
  std::vector<std::string> need_mapped_noise(const RunTable& table);
  void need_student(const std::string& name, std::int64_t seed);
  std::string need_first_student(const std::string& name);
  std::vector<std::string> compared_with(const std::string& student) const;
  StageNode& add_evaluation(const std::string& name, std::vector<std::string> inputs, std::vector<std::string> after,
                            bool of_images = true);

  const Config& config_;
  const ExternalInputs& inputs_;
  StageGraph graph_;
  std::vector<std::string> evaluations_;  ///< names of nodes
  std::vector<std::string> needing_;      ///< students whose inputs are being added, each needed by the one before
};

StageNode& GraphBuilder::add(const std::string& name, const std::string& kind, std::vector<std::string> inputs,
                             std::vector<std::string> after) {
  StageNode node;
  node.name = name;
  node.kind = kind;
  node.inputs = std::move(inputs);
  node.after = std::move(after);
  graph_.push_back(std::move(node));
  return graph_.back();
}

bool GraphBuilder::is_file(const std::string& key, const std::string& value) const {
  return find_option(key).is_path && inputs_.hashes.contains(value);
}

/// The value as it enters a fingerprint: of a path what lies there.
std::string GraphBuilder::fingerprint_text(const std::string& key, const std::string& value) const {
  return is_file(key, value) ? inputs_.hashes.at(value) : value;
}

void GraphBuilder::add_key(StageNode& node, const std::string& key, const std::string& value) const {
  node.keys[key] = fingerprint_text(key, value);
  if (is_file(key, value)) node.files.insert(key);
}

void GraphBuilder::add_keys(StageNode& node, const std::string& section) const {
  for (const Option& option : options())
    if (option.kind == OptionKind::result && option.section() == section &&
        enters(option, value_text(config_, option.key)))
      add_key(node, option.key, value_text(config_, option.key));
}

/// What draws random numbers and computes with models. Rounding that was not asked for is no key.
void GraphBuilder::add_computing_keys(StageNode& node) const {
  node.keys["pipeline.seed"] = value_text(config_, "pipeline.seed");
  if (config_.pipeline.tf32) node.keys["pipeline.tf32"] = value_text(config_, "pipeline.tf32");
}

/// The result of a stage that trains depends on the order in which a batch is added up.
void GraphBuilder::add_training_keys(StageNode& node) const {
  add_computing_keys(node);
  if (!config_.pipeline.reproducible) return;
  for (const std::string& key : reproducible_keys) node.keys[key] = value_text(config_, key);
}

/// Scores are of images: of the prepared ones, and of what models see of these.
std::vector<std::string> GraphBuilder::with_data(std::vector<std::string> inputs) const {
  if (encodes_images(config_)) inputs.insert(inputs.begin(), "latents");
  inputs.insert(inputs.begin(), "prepare");
  return inputs;
}

void GraphBuilder::need_latents() {
  std::vector<std::string> inputs{"prepare"};
  if (config_.latents.codec == "autoencoder") {
    StageNode& autoencoder = add("autoencoder", "autoencoder", inputs);
    add_keys(autoencoder, "autoencoder");
    add_training_keys(autoencoder);
    inputs.emplace_back("autoencoder");
  }
  StageNode& latents = add("latents", "latents", inputs);
  add_keys(latents, "latents");
  add_computing_keys(latents);
}

void GraphBuilder::need_teacher() {
  if (has_teacher()) return;
  StageNode& teacher = add("teacher", "teacher", {seen_rows_node(config_)});
  add_keys(teacher, "teacher");
  add_training_keys(teacher);
}

void GraphBuilder::need_loss_classifier() {
  if (look_for_node(graph_, "loss-features") != nullptr) return;
  StageNode& classifier = add("loss-features", "loss-features", {"prepare"});
  add_keys(classifier, "features");
  add_training_keys(classifier);
}

/// The table whose noise is mapped to another's, and the map where a stage trains it. Returns their nodes.
std::vector<std::string> GraphBuilder::need_mapped_noise(const RunTable& table) {
  need_table(find_run_table(config_, table.base));
  std::vector<std::string> nodes{table_node(table.base)};
  if (find_gaussian_map(table.map).fit != nullptr) return nodes;
  nodes.push_back(gaussianiser_node(table.base));
  if (look_for_node(graph_, nodes.back()) != nullptr) return nodes;
  StageNode& node = add(nodes.back(), "gaussianiser", {seen_rows_node(config_), table_node(table.base)});
  node.base = table.base;
  add_keys(node, "gaussianiser");
  add_training_keys(node);
  return nodes;
}

/// The table, behind what it is made from.
void GraphBuilder::need_table(const RunTable& table) {
  const std::string name = table_node(table.name);
  if (look_for_node(graph_, name) != nullptr) return;
  const TableMaker& maker = maker_of_table(config_, table.name);
  std::vector<std::string> inputs{seen_rows_node(config_)};
  std::vector<std::string> keys = maker.keys;
  if (!table.base.empty()) {
    for (const std::string& node : need_mapped_noise(table)) inputs.push_back(node);
    const std::vector<std::string>& own = find_gaussian_map(table.map).keys;
    keys.insert(keys.end(), own.begin(), own.end());
  }
  if (maker.needs_teacher) {
    need_teacher();
    inputs.emplace_back("teacher");
  }
  if (!table.student.empty()) inputs.push_back(need_first_student(table.student));
  StageNode& node = add(name, "couple", inputs);
  node.table = table.name;
  add_computing_keys(node);
  const CoupleConfig couple = couple_config(config_, table.name);
  for (const std::string& key : keys) {
    const std::string value = value_text(couple, "couple." + key);
    if (enters(find_option("couple." + key), value)) add_key(node, "couple." + key, value);
  }
  if (!table.map.empty()) node.keys["student.gaussianise"] = table.map;
  if (table.has_noise) measure_noise(table);
}

bool GraphBuilder::has_noise_classifiers() const {
  return config_.evaluate.noise_classifier || wants_candidates(config_.evaluate);
}

/// What there is to say of a table before any student is trained on it.
void GraphBuilder::measure_noise(const RunTable& table) {
  std::vector<std::string> classifier;
  if (has_noise_classifiers()) {
    StageNode& node =
        add(classifier_node(table.name), "noise-classifier", {seen_rows_node(config_), table_node(table.name)});
    node.measured = table.name;
    add_keys(node, "noise-classifier");
    add_training_keys(node);
    classifier.push_back(node.name);
  }
  add_evaluation("table-" + table.name, with_data({table_node(table.name)}), classifier, /*of_images=*/false).measured =
      table.name;
}

/// The student of that name and its first seed. Returns its node's name.
std::string GraphBuilder::need_first_student(const std::string& name) {
  const std::int64_t seed = student_config(config_, name).seeds.front();
  need_student(name, seed);
  return student_node(name, seed);
}

/// A score says itself what it was made with: an evaluation has settings, and no keys.
StageNode& GraphBuilder::add_evaluation(const std::string& name, std::vector<std::string> inputs,
                                        std::vector<std::string> after, bool of_images) {
  if (of_images && has_classifier()) after.push_back("features");
  if (look_for_node(graph_, "evaluate/" + name) != nullptr)
    refuse("two evaluations of the run would be called evaluate/{}: give the table or the student another name", name);
  StageNode& node = add("evaluate/" + name, "evaluate", std::move(inputs), std::move(after));
  node.settings["pipeline.seed"] = value_text(config_, "pipeline.seed");
  node.settings[solver_setting] = step_rule;
  for (const Option& option : options())
    if (option.kind == OptionKind::result && option.section() == "evaluate")
      node.settings[option.key] = fingerprint_text(option.key, value_text(config_, option.key));
  evaluations_.push_back(node.name);
  return node;
}

/// False of a key that only kinds of students, or members of a registry, use which the student does not have, and of
/// one that has no say beside its other keys.
bool depends_on(const StudentConfig& student, const std::string& key) {
  return why_unused(student, key).empty() && uses_key(coupling_kinds(), student.coupling, key) &&
         uses_key(field_kinds(), student.field, key) && uses_key(path_kinds(), student.path, key) &&
         uses_key(objective_kinds(), objective_name(student), key);
}

/// The student, behind what it is made from.
void GraphBuilder::need_student(const std::string& name, std::int64_t seed) {
  const std::string model = student_node(name, seed);
  if (look_for_node(graph_, model) != nullptr) return;
  if (std::ranges::find(needing_, model) != needing_.end())
    refuse("{} would be made from itself: {} is made from it (student.NAME.init-from and student.NAME.reflow-of)",
           model, needing_.back());
  needing_.push_back(model);
  const StudentConfig student = student_config(config_, name);
  std::vector<std::string> inputs{seen_rows_node(config_)};
  const auto table = table_of_student(config_, name);
  if (table) {
    need_table(*table);
    inputs.push_back(table_node(table->name));
  }
  if (!student.init_from.empty()) inputs.push_back(need_first_student(student.init_from));
  needing_.pop_back();
  if (needs_loss_classifier(student)) {
    need_loss_classifier();
    inputs.emplace_back("loss-features");
  }
  StageNode& node = add(model, "student", inputs);
  node.student = name;
  node.seed = seed;
  for (const Option& option : options()) {
    if (option.kind != OptionKind::result || option.section() != "student" || !depends_on(student, option.key))
      continue;
    const std::string value = value_text(student, option.key);
    if (!enters(option, value)) continue;
    if (option.record_name.empty())
      add_key(node, option.key, value);
    else
      node.keys[option.record_name] = value;
  }
  node.keys["student.seed"] = fmt::format("{}", seed);
  add_training_keys(node);
  if (!table)
    for (const std::string& key : row_keys) node.keys[key] = value_text(config_, key);
}

/// What a student is scored with besides the data: noise of its table; pairs of every table of the run; samples of the
/// teacher, if that filled its table.
std::vector<std::string> GraphBuilder::compared_with(const std::string& student) const {
  const bool measures_pairs = config_.evaluate.pairing_rows > 0;
  const auto own = table_of_student(config_, student);
  std::vector<std::string> nodes;
  for (const RunTable& table : run_tables(config_))
    if ((measures_pairs && table.is_of_images()) || (table.has_noise && own && own->name == table.name))
      nodes.push_back(table_node(table.name));
  if (own && own->has_noise && wants_candidates(config_.evaluate)) nodes.push_back(classifier_node(own->name));
  if (measures_pairs && has_noise_of_teacher(student_config(config_, student))) nodes.push_back("teacher");
  return nodes;
}

StageGraph GraphBuilder::build() {
  StageNode& prepare = add("prepare", "prepare", {});
  add_keys(prepare, "prepare");
  prepare.keys["prepare.source"] = inputs_.source;
  prepare.files.insert("prepare.source");
  if (has_latents(config_) && !encodes_images(config_)) {
    for (const std::string& key : form_keys) add_key(prepare, key, value_text(config_, key));
    prepare.keys["pipeline.seed"] = value_text(config_, "pipeline.seed");
  }
  if (has_classifier()) {
    StageNode& features = add("features", "features", {"prepare"});
    add_keys(features, "features");
    add_training_keys(features);
  }
  if (encodes_images(config_)) need_latents();
  add_evaluation("real", with_data({}), {});
  for (const RunTable& table : run_tables(config_)) need_table(table);
  if (config_.compare.empty()) need_teacher();
  if (has_teacher()) add_evaluation("teacher", with_data({"teacher"}), {});
  std::vector<std::int64_t> seeds;
  for (const std::string& name : config_.compare)
    for (const std::int64_t seed : student_config(config_, name).seeds)
      if (std::ranges::find(seeds, seed) == seeds.end()) seeds.push_back(seed);
  // One seed of all students before the next: what they are compared by is there early.
  for (const std::int64_t seed : seeds)
    for (const std::string& name : config_.compare) {
      const auto own = student_config(config_, name).seeds;
      if (std::ranges::find(own, seed) == own.end()) continue;
      need_student(name, seed);
      const std::string model = model_name(name, seed);
      StageNode& evaluation = add_evaluation(model, with_data({"student/" + model}), compared_with(name));
      evaluation.student = name;
      evaluation.seed = seed;
    }
  add("report", "report", {}, evaluations_);
  set_fingerprints(graph_);
  return std::move(graph_);
}

}  // namespace

StageGraph stage_graph(const Config& config, const ExternalInputs& inputs) {
  return GraphBuilder(config, inputs).build();
}

}  // namespace couplet
