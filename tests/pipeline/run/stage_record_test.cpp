#include "pipeline/run/stage_record.h"

#include "pipeline/config/options.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace couplet {
namespace {

/// A run directory of the test's own, of a small configuration.
class StageRecords : public testing::Test {
protected:
  StageRecords() : run_(std::filesystem::path(testing::TempDir()) / "stage_record_test") {
    std::filesystem::remove_all(run_.root());
  }
  ~StageRecords() override { std::filesystem::remove_all(run_.root()); }

  static Config changed(const std::string& key, const std::string& text) {
    return resolve_config("", {{key, text, "test"}});
  }
  static StageNode node(const std::vector<StageNode>& graph, const std::string& name) {
    return *std::ranges::find(graph, name, &StageNode::name);
  }
  static std::string print_of(const std::string& name, const Config& config) {
    const auto graph = stage_graph(config);
    return fingerprint(node(graph, name), graph, config);
  }
  /// Publishes the stage's record and a file as its result.
  void make(const std::string& name, StageState state, const Config& config = default_config()) {
    const auto graph = stage_graph(config);
    StageRecord record = new_record(node(graph, name), graph, config);
    record.state = state;
    std::filesystem::create_directories(run_.stage(name));
    publish_record(run_.stage(name), record);
    publish_file(run_.stage(name) / "result", name);
  }
  Decision decision(const std::string& name, const Config& config = default_config()) {
    const auto graph = stage_graph(config);
    return decide(node(graph, name), graph, config, run_);
  }
  std::string refusal(const std::string& name, const Config& config) {
    try {
      decision(name, config);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      return error.what();
    }
    ADD_FAILURE() << name << " was not refused";
    return "";
  }

  RunDirectory run_;
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(StageGraph, HasAStudentAndItsEvaluationForEachCouplingAndSeed) {
  const Config config = resolve_config("", {{"student.seeds", "0 7", ""}});
  std::vector<std::string> names;
  for (const auto& node : stage_graph(config)) {
    for (const auto& input : node.inputs)
      EXPECT_NE(std::ranges::find(names, input), names.end()) << node.name << " comes before its input " << input;
    names.push_back(node.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"prepare", "features", "teacher", "coupling", "evaluate/teacher",
                                             "student/nf-0", "evaluate/nf-0", "student/independent-0",
                                             "evaluate/independent-0", "student/nf-7", "evaluate/nf-7",
                                             "student/independent-7", "evaluate/independent-7", "report"}));
}

TEST_F(StageRecords, FingerprintsFollowResultKeysDownTheGraph) {
  const Config plain = default_config(), wide = changed("teacher.channels", "256"),
               two = changed("student.seeds", "0 1");
  for (const auto& node : stage_graph(plain)) {
    const bool depends = node.name != "prepare" && node.name != "features";
    EXPECT_EQ(print_of(node.name, plain) != print_of(node.name, wide), depends) << node.name;
    // Execution keys change nothing.
    for (const auto& option : options())
      if (option.kind == OptionKind::execution) {
        EXPECT_FALSE(stage_keys(node, plain).contains(option.key));
      }
    // A further seed changes nothing but the report.
    EXPECT_EQ(print_of(node.name, plain) != print_of(node.name, two), node.name == "report") << node.name;
  }
  std::vector<std::string> prints;
  for (const auto& node : stage_graph(two)) prints.push_back(print_of(node.name, two));
  std::ranges::sort(prints);
  EXPECT_EQ(std::ranges::adjacent_find(prints), prints.end());
}

TEST_F(StageRecords, EveryResultKeyEntersSomeStage) {
  Config config = default_config();
  config.pipeline.reproducible = true;  // its keys enter only where it is on: runs made without it stay as they are
  const auto graph = stage_graph(config);
  int seen = 0;
  for (const auto& option : options()) {
    if (option.kind == OptionKind::execution || option.key == "student.couplings" || option.key == "student.seeds")
      continue;
    EXPECT_TRUE(std::ranges::any_of(graph, [&](const auto& node) {
      return stage_keys(node, config).contains(option.key);
    })) << option.key;
    ++seen;
  }
  EXPECT_GT(seen, 60);
}

TEST_F(StageRecords, DecisionsFollowTheRecord) {
  EXPECT_EQ(decision("teacher").action, Action::start);
  make("teacher", StageState::started);
  EXPECT_EQ(decision("teacher").action, Action::resume);
  make("teacher", StageState::complete);
  EXPECT_EQ(decision("teacher").action, Action::skip);
  EXPECT_EQ(decision("teacher", changed("pipeline.threads", "3")).action, Action::skip);
  make("teacher", StageState::withdrawn);
  EXPECT_EQ(decision("teacher").action, Action::start);
}

TEST_F(StageRecords, AChangedKeyIsRefusedWithTheDifference) {
  make("teacher", StageState::complete);
  const std::string message =
      refusal("teacher", resolve_config("", {{"teacher.channels", "192", ""}, {"teacher.init", "w", ""}}));
  EXPECT_SAYS(message, "teacher.channels: recorded 128, now 192");
  EXPECT_SAYS(message, "teacher.init: recorded empty, now w");
  EXPECT_SAYS(message, "--redo teacher");
  EXPECT_SAYS(message, run_.stage("teacher").string());
}

TEST_F(StageRecords, AnInputMadeAnewIsRefusedByName) {
  make("student/nf-0", StageState::complete);
  const std::string message = refusal("student/nf-0", changed("teacher.channels", "192"));
  EXPECT_SAYS(message, "input coupling: recorded");
  EXPECT_SAYS(message, "--redo student/nf-0");
  // The report is made again instead.
  make("report", StageState::complete);
  EXPECT_EQ(decision("report", changed("student.seeds", "0 1")).action, Action::start);
}

TEST_F(StageRecords, FilesOfUnknownOriginAreNotTouched) {
  std::filesystem::create_directories(run_.stage("teacher"));
  publish_file(run_.stage("teacher") / "lock", "");
  EXPECT_EQ(decision("teacher").action, Action::start);
  publish_file(run_.stage("teacher") / "thesis.tex", "mine");
  EXPECT_SAYS(refusal("teacher", default_config()), "holds files but no stage.json");
  delete_stage(node(stage_graph(default_config()), "teacher"), run_);
  EXPECT_TRUE(std::filesystem::exists(run_.stage("teacher") / "thesis.tex"));
}

TEST_F(StageRecords, ADamagedRecordIsAnErrorThatNamesIt) {
  make("teacher", StageState::complete);
  publish_file(record_path(run_.stage("teacher")), "{\"format\": \"couplet-stage\", ");
  try {
    decision("teacher");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_SAYS(std::string(error.what()), record_path(run_.stage("teacher")).string());
  }
}

TEST_F(StageRecords, RecordsReadBackEqual) {
  make("student/nf-0", StageState::started);
  auto record = *read_record(run_.stage("student/nf-0"));
  record.seconds = 1.5;
  record.attempts = 3;
  record.ranks = 2;
  record.running_since = 1234.5;
  publish_record(run_.stage("student/nf-0"), record);
  EXPECT_SAYS(read_file(record_path(run_.stage("student/nf-0"))), "\"state\": \"started\"");
  const auto again = *read_record(run_.stage("student/nf-0"));
  EXPECT_EQ(again.state, StageState::started);
  EXPECT_EQ(again.keys, record.keys);
  EXPECT_EQ(again.keys.at("student.coupling"), "nf");
  EXPECT_EQ(again.inputs, record.inputs);
  EXPECT_EQ(again.fingerprint, record.fingerprint);
  EXPECT_EQ(again.program, COUPLET_VERSION);
  EXPECT_EQ(again.seconds, 1.5);
  EXPECT_EQ(again.attempts, 3);
  EXPECT_EQ(again.ranks, 2);
  EXPECT_EQ(again.running_since, 1234.5);
}

TEST_F(StageRecords, InputsMustBeComplete) {
  const Config config = default_config();
  const auto graph = stage_graph(config);
  make("prepare", StageState::complete);
  make("teacher", StageState::started);
  EXPECT_THROW(require_inputs(node(graph, "coupling"), graph, config, run_), Error);
  make("teacher", StageState::complete);
  EXPECT_NO_THROW(require_inputs(node(graph, "coupling"), graph, config, run_));
}

TEST_F(StageRecords, RedoSelectsAStageAndWhatDependsOnIt) {
  const auto graph = stage_graph(default_config());
  const auto names = [&](const std::string& name) {
    std::vector<std::string> found;
    for (const auto& each : with_dependants(select_nodes(name, graph), graph)) found.push_back(each.name);
    return found;
  };
  EXPECT_EQ(names("prepare").size(), graph.size());
  EXPECT_EQ(names("student/nf-0"), (std::vector<std::string>{"student/nf-0", "evaluate/nf-0", "report"}));
  EXPECT_EQ(names("evaluate").size(), 4U);
  EXPECT_EQ(names("couple").front(), "coupling");
  EXPECT_THROW(select_nodes("teachr", graph), Error);
}

TEST_F(StageRecords, DeletingLeavesOnlyTheLock) {
  make("teacher", StageState::complete);
  publish_file(run_.stage_lock("teacher"), "");
  delete_stage(node(stage_graph(default_config()), "teacher"), run_);
  EXPECT_FALSE(std::filesystem::exists(run_.stage("teacher") / "result"));
  EXPECT_FALSE(std::filesystem::exists(record_path(run_.stage("teacher"))));
  EXPECT_TRUE(std::filesystem::exists(run_.stage_lock("teacher")));
  EXPECT_EQ(decision("teacher").action, Action::start);
}

}  // namespace
}  // namespace couplet
