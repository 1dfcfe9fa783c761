#include "stages/graph.h"

#include "tests/stages/graph_testing.h"

#include "method/couplings/coupling.h"
#include "stages/data/run_tables.h"
#include "stages/kinds.h"
#include "storage/error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

// Which stages a configuration asks for, and what each depends on.

namespace couplet {
namespace {

TEST(Graph, StudentsAskForWhatTheyNeed) {
  EXPECT_EQ(names_of(graph_of({})), (Names{"prepare", "features", "evaluate/real", "teacher", "coupling/nf",
                                           "evaluate/table-nf", "evaluate/teacher", "student/nf-0", "evaluate/nf-0",
                                           "student/independent-0", "evaluate/independent-0", "report"}));
  EXPECT_EQ(
      names_of(graph_of({{"student.compare", "independent", ""}})),
      (Names{"prepare", "features", "evaluate/real", "student/independent-0", "evaluate/independent-0", "report"}));
  EXPECT_EQ(
      names_of(graph_of(
          {{"student.compare", "wide", ""}, {"student.wide.coupling", "nf", ""}, {"student.seeds", "0 7", ""}})),
      (Names{"prepare", "features", "evaluate/real", "teacher", "coupling/nf", "evaluate/table-nf", "evaluate/teacher",
             "student/wide-0", "evaluate/wide-0", "student/wide-7", "evaluate/wide-7", "report"}));
}

TEST(Graph, WithoutStudentsTheTeacherIsWhatTheRunIsFor) {
  const Setting none{"student.compare", "", ""};
  EXPECT_EQ(names_of(graph_of({none})),
            (Names{"prepare", "features", "evaluate/real", "teacher", "evaluate/teacher", "report"}));
  EXPECT_EQ(names_of(graph_of({none}, {.has_classes = false})),
            (Names{"prepare", "evaluate/real", "teacher", "evaluate/teacher", "report"}));
  // A student that comes later goes on from it.
  EXPECT_EQ(find_node(graph_of({none}), "teacher").fingerprint, find_node(graph_of({}), "teacher").fingerprint);
}

TEST(Graph, ModelsOfLatentsStandBehindThese) {
  const std::vector<Setting> pixels{{"teacher.flips", "false", ""}, {"couple.flips", "false", ""}};
  std::vector<Setting> own = pixels, given = pixels;
  own.push_back({"latents.codec", "autoencoder", ""});
  EXPECT_EQ(names_of(graph_of(own)),
            (Names{"prepare", "features", "autoencoder", "latents", "evaluate/real", "teacher", "coupling/nf",
                   "evaluate/table-nf", "evaluate/teacher", "student/nf-0", "evaluate/nf-0", "student/independent-0",
                   "evaluate/independent-0", "report"}));
  given.insert(given.end(), {{"latents.codec", "script", ""}, {"latents.file", "a.pt", ""}});
  const auto with_file = [&](const std::string& hash, std::vector<Setting> more = {}) {
    std::vector<Setting> all = given;
    all.insert(all.end(), more.begin(), more.end());
    const Config config = config_of(all);
    return stage_graph(config, {.hashes = {{config.latents.file, hash}}});
  };
  const StageGraph graph = with_file("a");
  EXPECT_EQ(look_for_node(graph, "autoencoder"), nullptr);
  for (const char* behind : {"teacher", "student/independent-0", "evaluate/real"})
    EXPECT_TRUE(find_node(graph, behind).runs_after("latents")) << behind;
  EXPECT_FALSE(find_node(graph, "features").runs_after("latents")) << "it sees pixels";
  const auto same = [&](const StageGraph& other, const std::string& node) {
    return find_node(graph, node).fingerprint == find_node(other, node).fingerprint;
  };
  // The file's content counts; a scale is of what models see, and none of the images'.
  for (const StageGraph& other : {with_file("b"), with_file("a", {{"latents.scale", "0.5", ""}}),
                                  with_file("a", {{"latents.draw", "mean", ""}})}) {
    EXPECT_FALSE(same(other, "latents"));
    EXPECT_FALSE(same(other, "teacher"));
    EXPECT_FALSE(same(other, "student/independent-0"));
    EXPECT_TRUE(same(other, "prepare"));
    EXPECT_TRUE(same(other, "features"));
  }
  // Keys of latents are no matter to runs without them.
  std::vector<Setting> others = pixels;
  others.insert(others.end(), {{"latents.scale", "0.5", ""}, {"autoencoder.factor", "8", ""}});
  for (const StageNode& node : graph_of(pixels))
    EXPECT_EQ(node.fingerprint, find_node(graph_of(others), node.name).fingerprint) << node.name;
}

TEST(Graph, MapsOfNoiseFillTablesOfTheirOwn) {
  const std::vector<Setting> mapped{{"student.compare", "nf calm flowed", ""},
                                    {"student.calm.coupling", "nf", ""},
                                    {"student.calm.gaussianise", "affine rotations", ""},
                                    {"student.flowed.coupling", "nf", ""},
                                    {"student.flowed.gaussianise", "affine flow", ""}};
  const auto with = [&](const std::string& key, const std::string& value) {
    std::vector<Setting> all = mapped;
    all.push_back({key, value, ""});
    return graph_of(all);
  };
  const StageGraph graph = graph_of(mapped);
  EXPECT_EQ(names_of(graph),
            (Names{"prepare", "features", "evaluate/real", "teacher", "coupling/nf", "evaluate/table-nf",
                   "coupling/nf-affine", "evaluate/table-nf-affine", "coupling/nf-affine-rotations",
                   "evaluate/table-nf-affine-rotations", "gaussianiser/nf-affine", "coupling/nf-affine-flow",
                   "evaluate/table-nf-affine-flow", "evaluate/teacher", "student/nf-0", "evaluate/nf-0",
                   "student/calm-0", "evaluate/calm-0", "student/flowed-0", "evaluate/flowed-0", "report"}));
  // Students that read another's noise are what they were, and the teacher is no measure of mapped noise.
  EXPECT_EQ(find_node(graph, "student/nf-0").fingerprint, find_node(graph_of({}), "student/nf-0").fingerprint);
  EXPECT_EQ(find_node(graph, "coupling/nf").fingerprint, find_node(graph_of({}), "coupling/nf").fingerprint);
  EXPECT_TRUE(find_node(graph, "evaluate/nf-0").runs_after("teacher"));
  EXPECT_FALSE(find_node(graph, "evaluate/calm-0").runs_after("teacher"));
  EXPECT_TRUE(find_node(graph, "evaluate/calm-0").runs_after("coupling/nf-affine-rotations"));
  // A key is of the tables of its map, and of what is made from them.
  const auto changed_by = [&](const std::string& key, const std::string& value) {
    Names changed;
    for (const StageNode& node : with(key, value))
      if (node.kind != "evaluate" && node.kind != "report" &&
          node.fingerprint != find_node(graph, node.name).fingerprint)
        changed.push_back(node.name);
    return changed;
  };
  EXPECT_EQ(changed_by("couple.rotation-layers", "2"), (Names{"coupling/nf-affine-rotations", "student/calm-0"}));
  EXPECT_EQ(changed_by("couple.nf-affine-rotations.rotation-layers", "2"),
            (Names{"coupling/nf-affine-rotations", "student/calm-0"}));
  EXPECT_EQ(changed_by("couple.affine-prior", "5"),
            (Names{"coupling/nf-affine", "coupling/nf-affine-rotations", "gaussianiser/nf-affine",
                   "coupling/nf-affine-flow", "student/calm-0", "student/flowed-0"}));
  EXPECT_EQ(changed_by("gaussianiser.blocks", "3"),
            (Names{"gaussianiser/nf-affine", "coupling/nf-affine-flow", "student/flowed-0"}));
}

TEST(Graph, KeysOfTheSecondFlowAreCheckedWhereThereIsOne) {
  const auto settings = [](const std::string& maps) {
    return std::vector<Setting>{{"student.compare", "calm", ""},
                                {"student.calm.coupling", "nf", ""},
                                {"student.calm.gaussianise", maps, ""},
                                {"gaussianiser.final-learning-rate", "1", ""}};
  };
  const Config config = config_of(settings("affine rotations"));
  EXPECT_EQ(unmapped_table(config, find_run_table(config, "nf-affine-rotations")).name, "nf");
  EXPECT_EQ(unmapped_table(config, find_run_table(config, "nf")).name, "nf");
  try {
    config_of(settings("affine flow"));
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("gaussianiser.final-learning-rate"), std::string::npos) << error.what();
  }
}

TEST(Graph, MapsAskForATableOfNoise) {
  for (const char* coupling : {"independent", "ot", "loom", "sd", "low-resolution"}) {
    try {
      config_of({{"student.compare", "mine", ""},
                 {"student.mine.coupling", coupling, ""},
                 {"student.mine.gaussianise", "affine", ""}});
      ADD_FAILURE() << coupling << " accepted";
    } catch (const Error& error) {
      for (const std::string& part : {std::string("student.mine.gaussianise = affine"), std::string(coupling)})
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(config_of({{"student.gaussianise", "affine affine", ""}, {"student.compare", "nf", ""}}), Error);
  EXPECT_THROW(config_of({{"student.gaussianise", "afine", ""}, {"student.compare", "nf", ""}}), Error);
}

TEST(Graph, LatentsRefuseWhatCannotBe) {
  const auto refused = [](std::vector<Setting> settings, const std::string& part) {
    settings.push_back({"latents.codec", "autoencoder", ""});
    try {
      config_of(settings);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      return;
    }
    ADD_FAILURE() << "accepted; expected: " << part;
  };
  const Setting teacher{"teacher.flips", "false", ""}, couple{"couple.flips", "false", ""};
  refused({couple}, "teacher.flips = true");
  refused({teacher, {"couple.flips", "true", ""}}, "couple.flips = true");
  refused({teacher, couple, {"couple.nf.flips", "true", ""}}, "couple.nf.flips = true");
  refused({teacher, couple, {"latents.file", "a.pt", ""}}, "latents.file");
  refused({teacher, couple, {"latents.scale", "1 0", ""}}, "0 alone");
  refused({teacher, couple, {"latents.shift", "", ""}}, "latents.shift is empty");
  refused({teacher, couple, {"prepare.condition", "low-resolution", ""}}, "prepare.condition");
  refused({teacher, couple, {"prepare.codec", "float", ""}}, "prepare.codec");
}

TEST(Graph, WhatTrainsByLikelihoodIsNoMatterToOthers) {
  const std::vector<Setting> both{{"student.compare", "cnf independent", ""},
                                  {"student.cnf.coupling", "independent", ""},
                                  {"student.cnf.objective", "likelihood", ""}};
  std::vector<Setting> finer = both;
  finer.push_back({"student.cnf-steps", "32", ""});
  const StageGraph before = graph_of(both), after = graph_of(finer);
  const auto print = [](const StageGraph& graph, const std::string& name) {
    return find_node(graph, name).fingerprint;
  };
  EXPECT_NE(print(before, "student/cnf-0"), print(after, "student/cnf-0"));
  EXPECT_EQ(print(before, "student/independent-0"), print(after, "student/independent-0"));
}

TEST(Graph, ATableStandsBehindWhoeverMakesIt) {
  const std::vector<Setting> reflows{
      {"student.compare", "second first reflow", ""}, {"student.first.coupling", "independent", ""},
      {"student.reflow.reflow-of", "first", ""},      {"student.reflow.init-from", "first", ""},
      {"student.second.coupling", "reflow", ""},      {"student.second.reflow-of", "reflow", ""}};
  const StageGraph graph = graph_of(reflows);
  EXPECT_EQ(names_of(graph), (Names{"prepare", "features", "evaluate/real", "student/first-0", "coupling/reflow-first",
                                    "evaluate/table-reflow-first", "student/reflow-0", "coupling/reflow-reflow",
                                    "evaluate/table-reflow-reflow", "student/second-0", "evaluate/second-0",
                                    "evaluate/first-0", "evaluate/reflow-0", "report"}));
  EXPECT_EQ(find_node(graph, "coupling/reflow-first").inputs, (Names{"prepare", "student/first-0"}));
  EXPECT_EQ(find_node(graph, "student/reflow-0").inputs,
            (Names{"prepare", "coupling/reflow-first", "student/first-0"}));
}

TEST(Graph, EvaluationsOfOneNameAreRefused) {
  const std::vector<Setting> settings{{"student.compare", "a table-a", ""},
                                      {"student.a.coupling", "imported", ""},
                                      {"student.a.table", "a-0", ""},
                                      {"couple.a-0.source", "somewhere", ""},
                                      {"student.table-a.coupling", "independent", ""}};
  EXPECT_THROW(graph_of(settings), Error);
}

TEST(Graph, AKeyOfOneTableIsItsOwn) {
  const std::vector<Setting> both{{"student.compare", "nf reflow", ""}, {"student.reflow.reflow-of", "nf", ""}};
  std::vector<Setting> changed_one = both;
  changed_one.push_back({"couple.reflow-nf.guidance", "2", ""});
  const StageGraph before = graph_of(both), after = graph_of(changed_one);
  EXPECT_EQ(find_node(before, "coupling/nf").fingerprint, find_node(after, "coupling/nf").fingerprint);
  EXPECT_NE(find_node(before, "coupling/reflow-nf").fingerprint, find_node(after, "coupling/reflow-nf").fingerprint);
  EXPECT_FALSE(find_node(before, "coupling/nf").keys.contains("couple.guidance")) << "no key of the inversion";
  EXPECT_FALSE(find_node(before, "coupling/nf").keys.contains("couple.ema")) << "tables from before it was there stay";
}

TEST(Graph, LatentsThatWereMadeElsewhereAreTheDataSet) {
  const std::vector<Setting> encoded{{"student.compare", "independent", ""},
                                     {"latents.codec", "script", ""},
                                     {"latents.file", "codec.pt", ""},
                                     {"teacher.flips", "false", ""},
                                     {"couple.flips", "false", ""}};
  std::vector<Setting> ready = encoded;
  ready.push_back({"prepare.format", "latents", ""});
  EXPECT_EQ(names_of(graph_of(encoded))[1], "features");
  EXPECT_EQ(names_of(graph_of(encoded))[2], "latents");
  const StageGraph graph = graph_of(ready);
  EXPECT_EQ(names_of(graph), (Names{"prepare", "features", "evaluate/real", "student/independent-0",
                                    "evaluate/independent-0", "report"}));
  EXPECT_EQ(find_node(graph, "student/independent-0").inputs, (Names{"prepare"}));
  const auto print_with = [&](const std::string& key, const std::string& value) {
    std::vector<Setting> changed = ready;
    changed.push_back({key, value, ""});
    return find_node(graph_of(changed), "prepare").fingerprint;
  };
  const std::string print = find_node(graph, "prepare").fingerprint;
  EXPECT_NE(print_with("latents.file", "other.pt"), print);
  EXPECT_NE(print_with("latents.scale", "0.18215"), print);
  EXPECT_NE(print_with("latents.range", "unit"), print);
  EXPECT_NE(print_with("pipeline.seed", "7"), print);
  EXPECT_EQ(print_with("latents.flips", "false"), print) << "no image is encoded";
  EXPECT_EQ(find_node(graph_of({}), "prepare").keys.count("latents.scale"), 0U);
}

// What came later is no part of what was made before it.
TEST(Graph, KeysThatCameLaterEnterNoFingerprintAtTheirDefault) {
  const StageGraph graph = graph_of({});
  for (const Option& option : options())
    if (option.came_later) {
      EXPECT_FALSE(find_node(graph, "student/nf-0").keys.contains(option.key)) << option.key;
    }
  EXPECT_TRUE(find_node(graph_of({{"student.times", "1", ""}}), "student/nf-0").keys.contains("student.times"));
}

TEST(Graph, TablesThatCannotBeMadeAreRefused) {
  const auto refusal = [](const std::vector<Setting>& settings) -> std::string {
    try {
      graph_of(settings);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage) << error.what();
      return error.what();
    }
    return "not refused";
  };
  const auto expect = [&](const std::vector<Setting>& settings, const std::vector<std::string>& parts) {
    for (const std::string& part : parts)
      EXPECT_NE(refusal(settings).find(part), std::string::npos) << refusal(settings);
  };
  expect({{"student.compare", "reflow", ""}}, {"reflow-of"});
  expect({{"evaluate.candidates", "4 2", ""}}, {"evaluate.candidates = 4 2", "list 1"});
  expect({{"evaluate.candidates", "1 4", ""}, {"evaluate.temperature", "0.9", ""}}, {"evaluate.temperature = 0.9"});
  expect({{"student.compare", "reflow", ""}, {"student.reflow.reflow-of", "nf", ""}},
         {"student.reflow.reflow-of = nf", "student.compare = reflow"});
  expect({{"student.compare", "reflow", ""}, {"student.reflow.reflow-of", "reflow", ""}}, {"reflow-of = reflow"});
  expect({{"student.compare", "nf other", ""},
          {"student.nf.init-from", "other", ""},
          {"student.other.coupling", "nf", ""},
          {"student.other.init-from", "nf", ""}},
         {"made from itself"});
  expect({{"student.compare", "imported", ""}}, {"couple.imported.source"});
  expect({{"student.compare", "nf", ""}, {"couple.a/b.flips", "true", ""}}, {"a/b", "name of a coupling table"});
}

// Runs of programs that did not know these keys go on.
TEST(Graph, MixingIsAKeyWhereItIsAskedFor) {
  const auto student_of = [](const std::vector<Setting>& settings) {
    return find_node(graph_of(settings), "student/nf-0");
  };
  const StageNode plain = student_of({});
  for (const std::string key : {"student.mix", "student.fresh-share"}) {
    EXPECT_FALSE(plain.keys.contains(key));
    EXPECT_EQ(student_of({{key, "0.0", ""}}).fingerprint, plain.fingerprint) << key;
    const StageNode mixed = student_of({{key, "0.25", ""}});
    EXPECT_EQ(mixed.keys.at(key), "0.25");
    EXPECT_NE(mixed.fingerprint, plain.fingerprint) << key;
    EXPECT_THROW(graph_of({{key, "1.5", ""}}), Error);
  }
  EXPECT_EQ(student_of({{"student.independent.mix", "0.5", ""}}).fingerprint, plain.fingerprint);
}

TEST(Graph, AMovedDataSetIsTheSame) {
  const auto name_in = [](const StageGraph& graph) { return find_node(graph, "prepare").keys.at("prepare.name"); };
  EXPECT_EQ(name_in(graph_of({})), name_in(graph_of({{"prepare.source", "/b/digits", ""}})));
  EXPECT_NE(name_in(graph_of({})), name_in(graph_of({{"prepare.name", "Digits", ""}})));
}

TEST(Graph, AClassifierIsTrainedOnlyWhereScoresAreByIt) {
  EXPECT_EQ(look_for_node(graph_of({{"evaluate.network", "/network.pt", ""}}), "features"), nullptr);
  EXPECT_EQ(look_for_node(graph_of({}, {.has_classes = false}), "features"), nullptr);
}

TEST(Graph, EveryStageStandsBehindWhatItRunsAfter) {
  const StageGraph graph = graph_of({{"student.seeds", "0 1", ""}});
  Names before;
  for (const StageNode& node : graph) {
    for (const auto& others : {node.inputs, node.after})
      for (const std::string& other : others)
        EXPECT_NE(std::ranges::find(before, other), before.end()) << node.name << " stands before " << other;
    before.push_back(node.name);
  }
}

TEST(Graph, SeedsOfEachStudentAreItsOwn) {
  const StageGraph graph = graph_of({{"student.seeds", "0 1", ""}, {"student.nf.seeds", "1", ""}});
  EXPECT_EQ(look_for_node(graph, "student/nf-0"), nullptr);
  EXPECT_NE(look_for_node(graph, "student/nf-1"), nullptr);
  EXPECT_NE(look_for_node(graph, "student/independent-0"), nullptr);
}

TEST(Graph, AStudentsKeysAreItsOwn) {
  const StageGraph graph = graph_of({{"student.nf.channels", "192", ""}});
  EXPECT_EQ(find_node(graph, "student/nf-0").keys.at("student.channels"), "192");
  EXPECT_EQ(find_node(graph, "student/independent-0").keys.at("student.channels"), "96");
  EXPECT_EQ(find_node(graph, "student/nf-0").keys.at("student.coupling"), "nf");
  // However a value is given, it is the same student.
  EXPECT_EQ(find_node(graph, "student/nf-0").fingerprint,
            find_node(graph_of({{"student.channels", "192", ""}}), "student/nf-0").fingerprint);
}

/// Names of the nodes whose fingerprints differ between two graphs that both have them.
TEST(Graph, ATablesNoiseIsMeasuredBeforeStudentsAreTrained) {
  const StageGraph plain = graph_of({});
  const StageNode& measured = find_node(plain, "evaluate/table-nf");
  EXPECT_EQ(measured.measured, "nf");
  EXPECT_TRUE(measured.runs_after("coupling/nf"));
  EXPECT_FALSE(measured.runs_after("features")) << "noise is compared with no images";
  EXPECT_EQ(look_for_node(plain, "noise-classifier/nf"), nullptr);
  // Numbers of noise are N(0, I) by themselves.
  EXPECT_EQ(look_for_node(graph_of({{"student.compare", "sd", ""}}), "evaluate/table-sd"), nullptr);
  const StageGraph classified = graph_of({{"evaluate.noise-classifier", "true", ""}});
  EXPECT_TRUE(find_node(classified, "evaluate/table-nf").runs_after("noise-classifier/nf"));
  EXPECT_FALSE(find_node(classified, "evaluate/nf-0").runs_after("noise-classifier/nf"));
  const StageGraph chosen = graph_of({{"evaluate.candidates", "1 4", ""}});
  EXPECT_TRUE(find_node(chosen, "evaluate/nf-0").runs_after("noise-classifier/nf"));
  EXPECT_FALSE(find_node(chosen, "evaluate/independent-0").runs_after("noise-classifier/nf"));
  // What is measured changes nothing that is made.
  for (const StageGraph& graph : {classified, chosen})
    for (const StageNode& node : plain)
      EXPECT_EQ(find_node(graph, node.name).fingerprint, node.fingerprint) << node.name;
  const Setting wide{"noise-classifier.channels", "8", ""};
  EXPECT_EQ(changed(chosen, graph_of({{"evaluate.candidates", "1 4", ""}, wide})), Names{"noise-classifier/nf"});
  EXPECT_EQ(changed(plain, graph_of({wide})), Names{});
}

TEST(Graph, WhatAListAsksForChangesNoFingerprint) {
  const StageGraph graph = graph_of({});
  for (const Setting& setting : std::vector<Setting>{{"student.seeds", "0 1", ""},
                                                     {"student.compare", "independent nf", ""},
                                                     {"evaluate.euler-nfe", "1 2", ""},
                                                     {"evaluate.guidance", "1 2", ""},
                                                     {"evaluate.sampling-seeds", "0 1", ""},
                                                     {"evaluate.samples", "77", ""},
                                                     {"evaluate.midpoint-nfe", "2", ""}})
    EXPECT_EQ(changed(graph, graph_of({setting})), Names{}) << setting.key;
}

TEST(Graph, AKeyOfAStageChangesItAndWhatIsMadeFromIt) {
  EXPECT_EQ(
      changed(graph_of({}), graph_of({{"teacher.channels", "256", ""}})),
      (Names{"teacher", "coupling/nf", "evaluate/table-nf", "evaluate/teacher", "student/nf-0", "evaluate/nf-0"}));
  EXPECT_EQ(changed(graph_of({}), graph_of({{"student.independent.channels", "192", ""}})),
            (Names{"student/independent-0", "evaluate/independent-0"}));
}

TEST(Graph, PathsCountByWhatLiesThere) {
  const auto with = [](const std::string& path, const std::string& hash) {
    return find_node(graph_of({{"teacher.init", path, ""}}, {.hashes = {{path, hash}}}), "teacher").fingerprint;
  };
  EXPECT_EQ(with("/a/weights", "1234"), with("/b/weights", "1234"));
  EXPECT_NE(with("/a/weights", "1234"), with("/a/weights", "5678"));
}

TEST(Graph, EveryResultKeyIsAKeyOrASettingOfSomeStage) {
  const Config config = config_of({{"pipeline.reproducible", "true", ""},
                                   {"pipeline.tf32", "true", ""},
                                   {"student.compare", "nf reflow imported ot loom sd flowed", ""},
                                   {"student.flowed.coupling", "nf", ""},
                                   {"student.flowed.gaussianise", "flow", ""},
                                   {"student.reflow.reflow-of", "nf", ""},
                                   {"couple.imported.source", "/tables/mine", ""},
                                   {"latents.codec", "autoencoder", ""},
                                   {"evaluate.noise-classifier", "true", ""},
                                   {"teacher.flips", "false", ""},
                                   {"couple.flips", "false", ""}});
  const StageGraph graph = stage_graph(config, {});
  int seen = 0;
  for (const Option& option : options()) {
    if (option.kind == OptionKind::execution) {
      for (const StageNode& node : graph)
        EXPECT_FALSE(node.keys.contains(option.key)) << node.name << " " << option.key;
      continue;
    }
    if (option.came_later) continue;  // a key where it is not at its default
    EXPECT_TRUE(std::ranges::any_of(graph, [&](const StageNode& node) {
      return node.keys.contains(option.recorded_key()) || node.settings.contains(option.key);
    })) << option.key;
    ++seen;
  }
  EXPECT_GT(seen, 60);
}

TEST(Graph, EveryKindOfNodeIsInTheTableOfKinds) {
  for (const StageNode& node : graph_of({})) EXPECT_EQ(kind_of(node).name, node.kind);
  EXPECT_THROW(kind_of({.name = "x", .kind = "no such kind"}), Error);
}

TEST(Graph, AStudentWithoutACouplingIsRefused) {
  EXPECT_THROW(graph_of({{"student.compare", "wide", ""}}), Error);
  EXPECT_NO_THROW(graph_of({{"student.compare", "wide", ""}, {"student.coupling", "independent", ""}}));
}

}  // namespace
}  // namespace couplet
