#include "tests/stages/graph_testing.h"

#include "method/couplings/coupling.h"
#include "method/models/field.h"
#include "method/objectives/objective.h"
#include "method/objectives/one_step.h"
#include "method/paths/path.h"
#include "stages/trained/alignment.h"
#include "storage/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

// Which keys of [student] a student depends on, and what it refuses.

namespace couplet {
namespace {

TEST(Graph, KeysWithoutASayAreNoPartOfAOneStepStudent) {
  using Settings = std::vector<Setting>;
  const auto matters = [](Settings settings, const Setting& change) {
    settings.insert(settings.end(), {{"student.compare", "nf", ""}, {"student.kind", "image", ""}});
    const StageGraph before = graph_of(settings);
    settings.push_back(change);
    return changed(before, graph_of(settings)) != Names{};
  };
  const Setting delta{"student.huber-delta", "0.2", ""}, range{"student.feature-range", "unit", ""};
  EXPECT_FALSE(matters({}, delta));
  EXPECT_TRUE(matters({{"student.image-loss", "huber", ""}}, delta));
  const Setting file{"student.feature-network", "loss.pt", ""}, weight{"student.feature-weight", "0.1", ""};
  EXPECT_FALSE(matters({file}, range));
  EXPECT_FALSE(matters({weight}, range));
  EXPECT_TRUE(matters({file, weight}, range));
}

TEST(Graph, KeysOfACouplingAreThoseOfItsStudentsOnly) {
  const Setting students{"student.compare", "independent ot loom", ""};
  const StageGraph graph = graph_of({students});
  EXPECT_EQ(changed(graph, graph_of({students, {"student.ot-steps", "2", ""}})),
            (Names{"student/ot-0", "evaluate/ot-0"}));
  EXPECT_EQ(changed(graph, graph_of({students, {"student.ot-within", "class", ""}})),
            (Names{"student/ot-0", "evaluate/ot-0"}));
  EXPECT_EQ(changed(graph, graph_of({students, {"student.loom-slots", "2", ""}})),
            (Names{"student/loom-0", "evaluate/loom-0"}));
  EXPECT_FALSE(find_node(graph, "student/independent-0").keys.contains("student.ot-steps"));
  EXPECT_EQ(find_node(graph, "student/ot-0").keys.at("student.ot-steps"), "1");
  for (const CouplingKind& kind : coupling_kinds())
    for (const std::string& key : kind.keys) EXPECT_EQ(find_option(key).section(), "student") << kind.name;
}

TEST(Graph, KeysOfAPathAreThoseOfItsStudentsOnly) {
  const std::vector<Setting> students{{"student.compare", "straight diffusion exploding", ""},
                                      {"student.coupling", "independent", ""},
                                      {"student.diffusion.path", "vp", ""},
                                      {"student.exploding.path", "ve", ""}};
  const auto with = [&](const char* key, const char* value) {
    std::vector<Setting> settings = students;
    settings.push_back({key, value, ""});
    return graph_of(settings);
  };
  const StageGraph graph = graph_of(students);
  const auto expect_change = [&](const char* key, const char* value, const std::string& student) {
    EXPECT_EQ(changed(graph, with(key, value)), (Names{"student/" + student + "-0", "evaluate/" + student + "-0"}))
        << key;
  };
  expect_change("student.sigma-min", "0.01", "straight");
  expect_change("student.vp-beta-min", "0.2", "diffusion");
  expect_change("student.vp-beta-max", "10", "diffusion");
  expect_change("student.ve-sigma-min", "0.02", "exploding");
  expect_change("student.ve-sigma-max", "30", "exploding");
  EXPECT_FALSE(find_node(graph, "student/diffusion-0").keys.contains("student.time-law"))
      << "runs of before stay valid";
  EXPECT_EQ(find_node(with("student.time-law", "uniform"), "student/straight-0").keys.at("student.time-law"),
            "uniform");
  for (const PathKind& kind : path_kinds())
    for (const std::string& key : kind.keys) EXPECT_EQ(find_option(key).section(), "student") << kind.name;
  for (const ObjectiveKind& kind : objective_kinds())
    for (const std::string& key : kind.keys) EXPECT_EQ(find_option(key).section(), "student") << kind.name;
}

TEST(Graph, AnObjectiveRefusesAPathAndTimesThatItCannotHave) {
  const auto expect = [](const std::vector<Setting>& settings, const std::string& part) {
    try {
      config_of(settings);
      ADD_FAILURE() << "not refused: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  expect({{"student.objective", "regression", ""}, {"student.path", "vp", ""}}, "set student.path = linear");
  expect({{"student.nf.objective", "scoreflow", ""}}, "student.nf.time-law = logit-normal");
  expect({{"student.time-law", "importance", ""}}, "student.objective = velocity");
  expect({{"student.path", "vp", ""}, {"student.vp-beta-min", "30", ""}}, "student.vp-beta-min = 30");
  expect({{"student.objective", "noise", ""}, {"student.times", "0.5 1", ""}}, "student.times lists 1:");
  expect({{"student.nf.kind", "image", ""}, {"student.path", "vp", ""}}, "set student.nf.path = linear");
  expect({{"student.kind", "image", ""}, {"student.sigma-min", "0.01", ""}}, "student.sigma-min = 0");
  expect({{"student.kind", "imag", ""}}, "one of flow, image");
  expect({{"student.train-guidance", "2", ""}, {"student.label-drop", "0", ""}}, "set label-drop above 0");
  expect({{"student.nf.train-guidance", "2", ""}, {"student.nf.label-drop", "1", ""}}, "student.nf.train-guidance = 2");
  expect({{"student.compare", "independent", ""},
          {"student.objective", "likelihood", ""},
          {"student.train-guidance", "2", ""}},
         "student.objective = likelihood");
  // What has no say for one step refuses nothing.
  EXPECT_NO_THROW(config_of({{"student.kind", "image", ""},
                             {"student.objective", "noise", ""},
                             {"student.times", "1", ""},
                             {"student.time-law", "importance", ""}}));
  expect({{"student.objective", "shortcut", ""}, {"student.sigma-min", "0.1", ""}}, "student.sigma-min = 0");
  expect({{"student.objective", "meanflow", ""}, {"student.times", "1", ""}}, "student.times = 1: student.objective");
  expect({{"student.objective", "meanflow", ""}, {"student.network", "unet", ""}},
         "student.time-scale), which may be 30");
  EXPECT_NO_THROW(config_of({{"student.objective", "meanflow", ""},
                             {"student.network", "unet", ""},
                             {"student.channels", "32", ""},
                             {"student.heads", "2", ""},
                             {"student.time-scale", "30", ""}}));
  EXPECT_NO_THROW(config_of(
      {{"student.objective", "scoreflow", ""}, {"student.path", "vp", ""}, {"student.time-law", "importance", ""}}));
}

TEST(Graph, AnAlignedStudentNeedsTheTeachersPairsAndTokens) {
  const auto require = [](std::vector<Setting> settings) {
    settings.insert(settings.end(), {{"student.compare", "mine", ""}, {"student.mine.align-weight", "2", ""}});
    if (std::ranges::find(settings, "student.mine.kind", &Setting::key) == settings.end())
      settings.push_back({"student.mine.kind", "image", ""});
    require_alignment(config_of(settings), "mine");
  };
  const auto expect = [&](const std::vector<Setting>& settings, const std::string& part) {
    try {
      require(settings);
      ADD_FAILURE() << "not refused: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      EXPECT_NE(std::string(error.what()).find("student.mine.align-weight = 2"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const Setting nf{"student.mine.coupling", "nf", ""};
  EXPECT_NO_THROW(require({nf}));
  // A map of the noise is one to one: the pair's image and its states stay what they are.
  EXPECT_NO_THROW(require({nf, {"student.mine.gaussianise", "affine", ""}}));
  EXPECT_NO_THROW(require({{"student.mine.kind", "flow", ""}, {"student.mine.coupling", "ot", ""}}));
  expect({{"student.mine.coupling", "independent", ""}}, "student.mine.coupling = independent");
  expect({{"student.mine.coupling", "imported", ""}, {"couple.mine.source", "/pairs", ""}},
         "student.mine.coupling = imported");
  expect({nf, {"student.mine.mix", "0.2", ""}}, "student.mine.mix = 0.2");
  expect({nf, {"student.mine.fresh-share", "0.1", ""}}, "student.mine.fresh-share = 0.1");
  expect({nf, {"student.mine.network", "unet", ""}, {"student.channels", "32", ""}, {"student.heads", "2", ""}},
         "student.mine.network = unet");
  expect({nf, {"student.mine.depth", "1", ""}}, "student.mine.depth = 1");
  expect({nf, {"teacher.blocks", "1", ""}}, "teacher.blocks = 1");
}

TEST(Graph, KeysOfOneStepStudentsAndOfFlowsAreTheirOwn) {
  const std::vector<Setting> students{
      {"student.compare", "flow one", ""}, {"student.coupling", "independent", ""}, {"student.one.kind", "image", ""}};
  const auto with = [&](const char* key, const char* value, const std::vector<Setting>& beside = {}) {
    std::vector<Setting> before = students;
    before.insert(before.end(), beside.begin(), beside.end());
    std::vector<Setting> after = before;
    after.push_back({key, value, ""});
    return changed(graph_of(before), graph_of(after));
  };
  const Names of_the_flow{"student/flow-0", "evaluate/flow-0"}, of_one{"student/one-0", "evaluate/one-0"};
  EXPECT_EQ(with("student.objective", "noise"), of_the_flow);
  EXPECT_EQ(with("student.times", "0.5 1"), of_the_flow);
  EXPECT_EQ(with("student.time-law", "uniform"), of_the_flow);
  EXPECT_EQ(with("student.time-mean", "0.1"), of_the_flow);
  EXPECT_EQ(with("student.time-std", "2"), of_the_flow);
  EXPECT_EQ(with("student.image-loss", "huber"), of_one);
  EXPECT_EQ(with("student.huber-delta", "0.2", {{"student.image-loss", "huber", ""}}), of_one);
  EXPECT_EQ(with("student.feature-weight", "1"), of_one);
  EXPECT_EQ(with("student.align-weight", "1"), of_one);
  const std::vector<Setting> by_file{{"student.feature-weight", "1", ""}, {"student.feature-network", "/a.pt", ""}};
  EXPECT_EQ(with("student.feature-range", "unit", by_file), of_one);
  // What has no say makes nothing anew.
  EXPECT_EQ(with("student.huber-delta", "0.2"), Names{});
  EXPECT_EQ(with("student.feature-range", "unit"), Names{});
  EXPECT_EQ(with("student.feature-network", "/a.pt"), Names{});
  EXPECT_EQ(with("student.train-guidance", "2"),
            (Names{"student/flow-0", "evaluate/flow-0", "student/one-0", "evaluate/one-0"}));
  const StageGraph graph = graph_of(students);
  EXPECT_EQ(find_node(graph, "student/one-0").keys.at("student.kind"), "image");
  EXPECT_FALSE(find_node(graph, "student/one-0").keys.contains("student.objective"));
  EXPECT_FALSE(find_node(graph, "student/one-0").keys.contains("student.align-weight"))
      << "runs of before stay finished";
  for (const StudentKind& kind : student_kinds())
    for (const std::string& key : kind.keys) EXPECT_EQ(find_option(key).section(), "student") << kind.name;
}

TEST(Graph, ALossOfFeaturesAsksForAClassifierOfItsOwn) {
  const auto graph = [](std::vector<Setting> more) {
    more.insert(
        more.end(),
        {{"student.compare", "one", ""}, {"student.coupling", "independent", ""}, {"student.kind", "image", ""}});
    return graph_of(more);
  };
  EXPECT_EQ(look_for_node(graph({}), "loss-features"), nullptr);
  const StageGraph asked = graph({{"student.feature-weight", "1", ""}});
  EXPECT_EQ(names_of(asked), (Names{"prepare", "features", "evaluate/real", "loss-features", "student/one-0",
                                    "evaluate/one-0", "report"}));
  EXPECT_EQ(find_node(asked, "student/one-0").inputs, (Names{"prepare", "loss-features"}));
  EXPECT_NE(find_node(asked, "loss-features").fingerprint, find_node(asked, "features").fingerprint);
  EXPECT_NE(
      look_for_node(graph({{"student.feature-weight", "1", ""}, {"evaluate.network", "/n.pt", ""}}), "loss-features"),
      nullptr)
      << "whatever scores";
  EXPECT_EQ(look_for_node(graph({{"student.feature-weight", "1", ""}, {"student.feature-network", "/n.pt", ""}}),
                          "loss-features"),
            nullptr);
  EXPECT_EQ(look_for_node(graph_of({{"student.feature-weight", "1", ""}}), "loss-features"), nullptr) << "of flows";
}

TEST(Graph, KeysOfANetworkAreThoseOfItsStudentsOnly) {
  const std::vector<Setting> students{{"student.compare", "plain net points", ""},
                                      {"student.coupling", "independent", ""},
                                      {"student.net.network", "unet", ""},
                                      {"student.points.network", "mlp", ""}};
  const auto with = [&](Setting setting) {
    std::vector<Setting> all = students;
    all.push_back(std::move(setting));
    return changed(graph_of(students), graph_of(all));
  };
  const Names of_the_net{"student/net-0", "evaluate/net-0"};
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"multipliers", "1 1 2"},
                                                                                   {"blocks", "1"},
                                                                                   {"attention", "4"},
                                                                                   {"head-channels", "32"},
                                                                                   {"scale-shift", "false"},
                                                                                   {"residual-resampling", "false"},
                                                                                   {"new-attention-order", "true"},
                                                                                   {"dropout", "0.1"},
                                                                                   {"time-scale", "1"},
                                                                                   {"channels-last", "true"}})
    EXPECT_EQ(with({"student." + key, value, ""}), of_the_net) << key;
  EXPECT_EQ(with({"student.patch", "2", ""}), (Names{"student/plain-0", "evaluate/plain-0"}));
  EXPECT_EQ(with({"student.depth", "2", ""}),
            (Names{"student/plain-0", "evaluate/plain-0", "student/points-0", "evaluate/points-0"}));
  EXPECT_EQ(with({"student.heads", "1", ""}),
            (Names{"student/plain-0", "evaluate/plain-0", "student/net-0", "evaluate/net-0"}));
  for (const FieldKind& kind : field_kinds())
    for (const std::string& key : kind.keys) EXPECT_EQ(find_option(key).section(), "student") << kind.name;
}

// Runs that were made when the key was called student.field stay finished.
TEST(Graph, ANetworkIsRecordedByTheNameThatItsKeyHad) {
  const StageNode node = find_node(graph_of({}), "student/nf-0");
  EXPECT_EQ(node.keys.at("student.field"), "sit");
  EXPECT_FALSE(node.keys.contains("student.network"));
  std::string keys;
  for (const auto& [key, value] : node.keys) keys += key.substr(key.find('.') + 1) + " ";
  EXPECT_EQ(keys,
            "seed batch channels clip coupling depth ema field final-learning-rate heads images init label-drop "
            "learning-rate objective patch path precision seed time-mean time-std warmup weight-decay window-blocks ");
}

TEST(Graph, AFieldRefusesSizesThatDoNotFit) {
  const auto refusal = [](const std::vector<Setting>& settings) -> std::string {
    try {
      config_of(settings);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage);
      return error.what();
    }
    return "not refused";
  };
  const auto expect = [&](const std::vector<Setting>& settings, const std::string& part) {
    EXPECT_NE(refusal(settings).find(part), std::string::npos) << refusal(settings);
  };
  expect({{"student.channels", "100", ""}}, "student.heads");
  expect({{"student.channels", "90", ""}, {"student.heads", "3", ""}}, "88 or 92");
  expect({{"student.nf.channels", "100", ""}}, "student.nf.channels = 100");
  expect({{"student.network", "unet", ""}, {"student.channels", "40", ""}}, "student.channels = 40");
  expect({{"student.field", "sit", ""}}, "student.field is called student.network now");
  expect({{"student.nf.field", "sit", ""}}, "student.nf.field is called student.network now");
  expect({{"student.network", "unnet", ""}}, "unet");
}

TEST(Graph, ACouplingThatExchangesNoiseRefusesBatchesOfOne) {
  const Setting students{"student.compare", "ot", ""};
  EXPECT_THROW(config_of({students, {"student.batch", "1", ""}}), Error);
  EXPECT_NO_THROW(config_of({students, {"student.batch", "2", ""}}));
  EXPECT_NO_THROW(config_of({{"student.compare", "independent", ""}, {"student.batch", "1", ""}}));
  EXPECT_THROW(config_of({students, {"student.ot-within", "label", ""}}), Error);
}

}  // namespace
}  // namespace couplet
