// What goes when a stage is made anew, by the records of a run.
#include "stages/plan.h"

#include "pipeline/config/options.h"
#include "stages/graph.h"
#include "stages/kinds.h"
#include "tests/storage/storage_testing.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

using Names = std::vector<std::string>;

class PlanTest : public ::testing::Test {
protected:
  PlanTest() : run_(folder_.path()) {
    offer_members();
    config_ = resolve_config("", {{"student.compare", "independent nf", ""}});
    graph_ = stage_graph(config_, {});
    for (const StageNode& node : graph_)
      if (node.kind != "evaluate" && node.kind != "report") complete(node.name, node.inputs);
  }

  void complete(const std::string& name, const Names& inputs) {
    StageRecord record;
    record.state = StageState::complete;
    record.stage = name;
    record.fingerprint = "of " + name;
    for (const std::string& input : inputs) record.inputs[input] = "of " + input;
    fs::create_directories(run_.stage(name));
    publish_record(run_.stage(name), record);
    std::ofstream(run_.stage(name) / "content") << "x";
  }

  void redo(const std::string& name) { delete_stages(nodes_to_redo({name}, graph_), {config_, run_, graph_}); }

  Names left(const Names& names) const {
    Names left;
    for (const std::string& name : names)
      if (read_record(run_.stage(name))) left.push_back(name);
    return left;
  }

  Folder folder_;
  RunDirectory run_;
  Config config_;
  StageGraph graph_;
};

TEST_F(PlanTest, WhatIsNotListedGoesWithWhatItWasMadeFrom) {
  // Names whose order is not that in which they are made.
  complete("coupling/nf-zeta", {"prepare", "coupling/nf"});
  complete("gaussianiser/nf-zeta", {"prepare", "coupling/nf-zeta"});
  complete("coupling/a", {"prepare", "coupling/nf-zeta", "gaussianiser/nf-zeta"});
  complete("noise-classifier/a", {"prepare", "coupling/a"});
  complete("student/mapped-0", {"prepare", "coupling/a"});
  complete("coupling/elsewhere", {"prepare"});
  const Names all{"coupling/nf-zeta",   "gaussianiser/nf-zeta", "coupling/a",
                  "noise-classifier/a", "student/mapped-0",     "coupling/elsewhere"};
  redo("coupling/nf");
  EXPECT_EQ(left(all), Names{"coupling/elsewhere"});
  EXPECT_EQ(left({"prepare", "teacher", "coupling/nf", "student/nf-0", "student/independent-0"}),
            (Names{"prepare", "teacher", "student/independent-0"}));
}

TEST_F(PlanTest, ClassifiersThatAreNotListedGoWithTheImages) {
  complete("loss-features", {"prepare"});
  complete("student/sharp-0", {"prepare", "loss-features"});
  redo("teacher");
  EXPECT_EQ(left({"loss-features", "student/sharp-0"}), (Names{"loss-features", "student/sharp-0"}));
  redo("prepare");
  EXPECT_EQ(left({"loss-features", "student/sharp-0"}), Names{});
}

}  // namespace
}  // namespace couplet::testing
