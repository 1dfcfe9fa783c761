#include "pipeline/run/stage_record.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace couplet {
namespace {

/// prepare → teacher → coupling/nf → student/nf-0 → evaluate/nf-0 → report, with a second student of the data alone.
/// The evaluation runs after the teacher besides, and the report after the evaluation, without being made from them.
StageGraph graph_of(const std::string& channels = "128") {
  StageGraph graph{
      {.name = "prepare", .kind = "prepare"},
      {.name = "teacher", .kind = "teacher", .inputs = {"prepare"}},
      {.name = "coupling/nf", .kind = "couple", .table = "nf", .inputs = {"prepare", "teacher"}},
      {.name = "student/nf-0", .kind = "student", .student = "nf", .inputs = {"prepare", "coupling/nf"}},
      {.name = "student/plain-0", .kind = "student", .student = "plain", .inputs = {"prepare"}},
      {.name = "evaluate/nf-0", .kind = "evaluate", .student = "nf", .inputs = {"student/nf-0"}, .after = {"teacher"}},
      {.name = "report", .kind = "report", .after = {"evaluate/nf-0"}}};
  graph[1].keys = {{"teacher.channels", channels}, {"teacher.init", ""}};
  set_fingerprints(graph);
  return graph;
}

/// A run directory of the test's own.
class StageRecords : public testing::Test {
protected:
  StageRecords() : run_(std::filesystem::path(testing::TempDir()) / "stage_record_test") {
    std::filesystem::remove_all(run_.root());
  }
  ~StageRecords() override { std::filesystem::remove_all(run_.root()); }

  /// Publishes the stage's record and a file as its result.
  void make(const std::string& name, StageState state, const StageGraph& graph = graph_of()) {
    StageRecord record = new_record(find_node(graph, name), graph);
    record.state = state;
    std::filesystem::create_directories(run_.stage(name));
    publish_record(run_.stage(name), record);
    publish_file(run_.stage(name) / "result", name);
  }
  Decision decision(const std::string& name, const StageGraph& graph = graph_of()) {
    return decide(find_node(graph, name), graph, run_);
  }
  std::string refusal(const std::string& name, const StageGraph& graph = graph_of()) {
    try {
      decision(name, graph);
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

TEST_F(StageRecords, FingerprintsFollowKeysAndInputsDownTheGraph) {
  const StageGraph plain = graph_of(), wide = graph_of("256");
  for (const StageNode& node : plain) {
    // What a stage runs after without being made from it leaves its fingerprint as it is.
    const bool depends = node.name == "teacher" || node.name == "coupling/nf" || node.name == "student/nf-0" ||
                         node.name == "evaluate/nf-0";
    EXPECT_EQ(node.fingerprint != find_node(wide, node.name).fingerprint, depends) << node.name;
  }
}

TEST_F(StageRecords, DecisionsFollowTheRecord) {
  EXPECT_EQ(decision("teacher").action, Action::start);
  make("teacher", StageState::started);
  EXPECT_EQ(decision("teacher").action, Action::resume);
  make("teacher", StageState::complete);
  EXPECT_EQ(decision("teacher").action, Action::skip);
  make("teacher", StageState::withdrawn);
  EXPECT_EQ(decision("teacher").action, Action::start);
}

TEST_F(StageRecords, AChangedKeyIsRefusedWithTheDifference) {
  make("teacher", StageState::complete);
  StageGraph changed = graph_of("192");
  changed[1].keys["teacher.init"] = "hash-of-weights";
  set_fingerprints(changed);
  const std::string message = refusal("teacher", changed);
  EXPECT_SAYS(message, "teacher.channels: recorded 128, now 192");
  EXPECT_SAYS(message, "teacher.init: recorded empty, now hash-of-weights");
  EXPECT_SAYS(message, "--redo teacher");
  EXPECT_SAYS(message, run_.stage("teacher").string());
}

TEST_F(StageRecords, AStageThatHasMadeNothingStartsAnewFromOtherFiles) {
  StageGraph mended = graph_of();
  mended[1].keys["teacher.init"] = "hash-of-weights";
  mended[1].files = {"teacher.init"};
  set_fingerprints(mended);
  make("teacher", StageState::started);
  EXPECT_SAYS(refusal("teacher", mended), "teacher.init: recorded empty, now hash-of-weights");
  std::filesystem::remove(run_.stage("teacher") / "result");
  EXPECT_EQ(decision("teacher", mended).action, Action::start);
  EXPECT_EQ(decision("teacher").action, Action::resume);
  // Other keys are refused as ever.
  EXPECT_SAYS(refusal("teacher", graph_of("192")), "recorded 128, now 192");
  mended[1].keys["teacher.channels"] = "192";
  set_fingerprints(mended);
  EXPECT_SAYS(refusal("teacher", mended), "recorded 128, now 192");
  make("teacher", StageState::complete);
  std::filesystem::remove(run_.stage("teacher") / "result");
  EXPECT_SAYS(refusal("teacher", mended), "hash-of-weights");
}

TEST_F(StageRecords, AnInputMadeAnewIsRefusedByName) {
  make("student/nf-0", StageState::complete);
  const std::string message = refusal("student/nf-0", graph_of("192"));
  EXPECT_SAYS(message, "input coupling/nf: recorded");
  EXPECT_SAYS(message, "--redo student/nf-0");
  make("report", StageState::complete);
  EXPECT_EQ(decision("report", graph_of("192")).action, Action::skip);
}

TEST_F(StageRecords, FilesOfUnknownOriginAreNotTouched) {
  std::filesystem::create_directories(run_.stage("teacher"));
  publish_file(run_.stage("teacher") / "lock", "");
  EXPECT_EQ(decision("teacher").action, Action::start);
  publish_file(run_.stage("teacher") / "thesis.tex", "mine");
  EXPECT_SAYS(refusal("teacher"), "holds files but no stage.json");
  delete_stage(find_node(graph_of(), "teacher"), run_);
  EXPECT_TRUE(std::filesystem::exists(run_.stage("teacher") / "thesis.tex"));
}

TEST_F(StageRecords, ADamagedRecordIsAnErrorThatNamesIt) {
  make("teacher", StageState::complete);
  const auto path = record_path(run_.stage("teacher"));
  for (const std::string& text :
       {std::string("{\"format\": \"couplet-stage\", "), std::string("[3]"), std::string("{}"), std::string(),
        std::string(200'000, '['), std::string("{\"format\": \"\xff\"}")}) {
    publish_file(path, text);
    try {
      decision("teacher");
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_SAYS(std::string(error.what()), path.string());
      EXPECT_SAYS(std::string(error.what()), "move it away, or delete the stage's directory");
      EXPECT_EQ(std::string(error.what()).find("json.exception"), std::string::npos) << error.what();
    }
  }
}

TEST_F(StageRecords, WordsAndNumbersThatMeanNothingAreDamage) {
  make("teacher", StageState::complete);
  const auto path = record_path(run_.stage("teacher"));
  const auto record = nlohmann::json::parse(read_file(path));
  const std::vector<std::pair<std::string, nlohmann::json>> changes{
      {"state", "gone"}, {"format_version", 4294967297}, {"attempts", 1e300}, {"ranks", 1.5}, {"keys", 3}};
  for (const auto& [key, value] : changes) {
    auto changed = record;
    changed[key] = value;
    publish_file(path, changed.dump());
    try {
      read_record(run_.stage("teacher"));
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_SAYS(std::string(error.what()), path.string());
      EXPECT_SAYS(std::string(error.what()), "move it away, or delete the stage's directory");
    }
  }
}

TEST_F(StageRecords, RecordsReadBackEqual) {
  make("coupling/nf", StageState::started);
  auto record = *read_record(run_.stage("coupling/nf"));
  record.keys["couple.flips"] = "true";
  record.seconds = 1.5;
  record.attempts = 3;
  record.ranks = 2;
  record.running_since = 1234.5;
  publish_record(run_.stage("coupling/nf"), record);
  EXPECT_SAYS(read_file(record_path(run_.stage("coupling/nf"))), "\"state\": \"started\"");
  const auto again = *read_record(run_.stage("coupling/nf"));
  EXPECT_EQ(again.state, StageState::started);
  EXPECT_EQ(again.keys, record.keys);
  EXPECT_EQ(again.inputs, record.inputs);
  EXPECT_EQ(again.inputs.size(), 2U);
  EXPECT_EQ(again.fingerprint, record.fingerprint);
  EXPECT_EQ(again.program, COUPLET_VERSION);
  EXPECT_EQ(again.seconds, 1.5);
  EXPECT_EQ(again.attempts, 3);
  EXPECT_EQ(again.ranks, 2);
  EXPECT_EQ(again.running_since, 1234.5);
}

TEST_F(StageRecords, WhatAStageRunsAfterMustBeComplete) {
  const StageGraph graph = graph_of();
  make("prepare", StageState::complete);
  make("teacher", StageState::started);
  EXPECT_THROW(require_inputs(find_node(graph, "coupling/nf"), graph, run_), Error);
  make("teacher", StageState::complete);
  EXPECT_NO_THROW(require_inputs(find_node(graph, "coupling/nf"), graph, run_));
  EXPECT_THROW(require_inputs(find_node(graph, "report"), graph, run_), Error);
  make("evaluate/nf-0", StageState::complete);
  EXPECT_NO_THROW(require_inputs(find_node(graph, "report"), graph, run_));
}

TEST_F(StageRecords, RedoSelectsAStageAndWhatIsMadeFromIt) {
  const StageGraph graph = graph_of();
  const auto names = [&](const std::string& name) {
    std::vector<std::string> found;
    for (const auto& each : with_dependants(select_nodes(name, graph), graph)) found.push_back(each.name);
    return found;
  };
  EXPECT_EQ(names("prepare").size(), graph.size() - 1);  // the report is made from nothing by name
  EXPECT_EQ(names("student/nf-0"), (std::vector<std::string>{"student/nf-0", "evaluate/nf-0"}));
  EXPECT_EQ(names("student").size(), 3U);
  EXPECT_EQ(names("couple").front(), "coupling/nf");
  EXPECT_THROW(select_nodes("teachr", graph), Error);
}

TEST_F(StageRecords, DeletingLeavesOnlyTheLock) {
  make("teacher", StageState::complete);
  publish_file(run_.stage_lock("teacher"), "");
  delete_stage(find_node(graph_of(), "teacher"), run_);
  EXPECT_FALSE(std::filesystem::exists(run_.stage("teacher") / "result"));
  EXPECT_FALSE(std::filesystem::exists(record_path(run_.stage("teacher"))));
  EXPECT_TRUE(std::filesystem::exists(run_.stage_lock("teacher")));
  EXPECT_EQ(decision("teacher").action, Action::start);
}

}  // namespace
}  // namespace couplet
