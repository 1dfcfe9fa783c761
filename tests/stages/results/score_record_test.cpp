// Records of scores: what was made stays, what holds now is told from it.
#include "stages/results/score_record.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace couplet {
namespace {

namespace fs = std::filesystem;

class RecordFiles : public ::testing::Test {
protected:
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }

  const fs::path folder = fs::temp_directory_path() / ("couplet_records." + std::to_string(getpid()));
  const MadeWith one{{"evaluate.samples", "100"}, {"features", "abc"}},
      other{{"evaluate.samples", "100"}, {"features", "xyz"}};
};

TEST_F(RecordFiles, AScoreIsFoundByItsKeyAndWhatItWasMadeWith) {
  Records records(folder);
  const ScoreKey key{.model = "student", .student = "nf", .solver = "euler", .nfe = 4};
  records.add(key, "frechet_distance", one, 1.5, 100, {"network", "abc", "none"});
  records.publish();

  Records again(folder);
  ASSERT_TRUE(again.has(key, "frechet_distance", one));
  EXPECT_EQ(again.find(key, "frechet_distance", one)->at("value"), 1.5);
  EXPECT_FALSE(again.has(key, "class_accuracy", one));
  EXPECT_FALSE(again.has(key, "frechet_distance", other)) << "made with another network";
  ScoreKey guided = key;
  guided.guidance = 2;
  EXPECT_FALSE(again.has(guided, "frechet_distance", one));

  // Another network's score stands beside the first.
  again.add(key, "frechet_distance", other, 2.5, 100, {"network", "xyz", "none"});
  again.publish();
  const Records both(folder);
  EXPECT_EQ(both.find(key, "frechet_distance", one)->at("value"), 1.5);
  EXPECT_EQ(both.find(key, "frechet_distance", other)->at("value"), 2.5);
}

// What programs before knew of no temperature is of temperature 1, and stays.
TEST_F(RecordFiles, ATemperatureIsSaidWhereItIsAnother) {
  Records records(folder);
  const ScoreKey key{.model = "student", .student = "nf", .solver = "euler", .nfe = 4};
  ScoreKey colder = key;
  colder.temperature = 0.9;
  records.add(key, "frechet_distance", one, 1.5, 100, {});
  EXPECT_FALSE(records.has(colder, "frechet_distance", one));
  records.add(colder, "frechet_distance", one, 2.5, 100, {});
  EXPECT_EQ(records.find(key, "frechet_distance", one)->at("value"), 1.5);
  EXPECT_FALSE(records.find(key, "frechet_distance", one)->contains("temperature"));
  EXPECT_EQ(records.find(colder, "frechet_distance", one)->at("value"), 2.5);
  EXPECT_EQ(records.find(colder, "frechet_distance", one)->at("temperature"), 0.9);
  records.publish();
  const std::vector<ScoreRecord> read = read_records(nlohmann::json::parse(read_file(folder / "records.json")));
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].temperature, 1);
  EXPECT_EQ(read[1].temperature, 0.9);

  Records of_the_other(folder / "other");
  of_the_other.add(colder, "frechet_distance", one, 2.5, 100, {});
  EXPECT_FALSE(of_the_other.has(key, "frechet_distance", one));
}

TEST_F(RecordFiles, WithoutANumberOfCandidatesThereIsOne) {
  ScoreKey own{.model = "student", .student = "nf", .solver = "euler", .nfe = 4}, chosen = own;
  chosen.candidates = 4;
  Records records(folder);
  records.add(chosen, "frechet_distance", one, 2.5, 100, {});
  EXPECT_FALSE(records.has(own, "frechet_distance", one)) << "its samples started from one of four noises";
  records.add(own, "frechet_distance", one, 1.5, 100, {});
  records.publish();
  const Records again(folder);
  EXPECT_EQ(again.find(own, "frechet_distance", one)->at("value"), 1.5);
  EXPECT_EQ(again.find(chosen, "frechet_distance", one)->at("value"), 2.5);
  EXPECT_FALSE(again.find(own, "frechet_distance", one)->contains("candidates")) << "as in records of before";
  EXPECT_NE(identity_text(own, "frechet_distance", one), identity_text(chosen, "frechet_distance", one));
}

TEST_F(RecordFiles, AFileThatHoldsNoRecordsIsAnErrorThatNamesIt) {
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string("{\"records\": 3}"), std::string("{\"records\": [3]}"),
        std::string("{\"records\": [{\"made_with\": 3}]}"), "{\"records\":" + std::string(200'000, '[')}) {
    publish_file(folder / "records.json", text);
    try {
      const Records records(folder);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      for (const char* part : {"records.json", "no list of records in it", "remove the file"})
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
}

TEST_F(RecordFiles, TheEvaluationsOfAnAdaptiveSolverAreNotAskedFor) {
  Records records(folder);
  ScoreKey key{.model = "student", .student = "nf", .solver = "dopri5", .nfe = 38, .atol = 1e-5, .rtol = 1e-5};
  records.add(key, "frechet_distance", one, 1.5, 100, {});
  key.nfe = 0;
  EXPECT_TRUE(records.has(key, "frechet_distance", one));
  key.rtol = 1e-3;
  EXPECT_FALSE(records.has(key, "frechet_distance", one));
}

TEST_F(RecordFiles, WhatWasMadeWithAStageThatIsMadeAnewIsForgotten) {
  Records records(folder);
  const ScoreKey key{.model = "real", .split = "test"};
  records.add(key, "frechet_distance", one, 1.5, 100, {});
  records.add(key, "finite_share", {{"evaluate.samples", "100"}}, 1, 100, {});
  EXPECT_FALSE(records.forget({"teacher"}));
  EXPECT_TRUE(records.forget({"teacher", "features"}));
  EXPECT_FALSE(records.has(key, "frechet_distance", one));
  EXPECT_TRUE(records.has(key, "finite_share", {{"evaluate.samples", "100"}}));
}

// Evaluations that end together publish in any order. On 10a555e each added its scores to the text that it had read
// before, and the older text could come last.
TEST_F(RecordFiles, WhatIsPublishedIsMadeOfTheRecordsOfAllEvaluations) {
  const Config config{};
  const RunDirectory run(folder);
  const StageGraph graph{{.name = "evaluate/real", .kind = "evaluate"}, {.name = "evaluate/nf-0", .kind = "evaluate"}};
  for (const StageNode& node : graph) {
    fs::create_directories(run.stage(node.name));
    Records records(run.stage(node.name));
    records.add({.model = node.name}, "frechet_distance", {}, 1.5, 100, {});
    records.publish();
  }
  fs::create_directories(run.results().parent_path());
  publish_file(run.results(), R"({"records": [{"model": "older"}]})");
  publish_results({config, run, graph});
  std::vector<std::string> models;
  const auto results = nlohmann::json::parse(read_file(run.results()));
  for (const nlohmann::json& record : results.at("records")) models.push_back(record.at("model"));
  EXPECT_EQ(models, (std::vector<std::string>{"evaluate/real", "evaluate/nf-0"}));
}

TEST_F(RecordFiles, WithoutRecordsNothingIsPublished) {
  const Config config{};
  const RunDirectory run(folder);
  const StageGraph graph;
  publish_results({config, run, graph});
  EXPECT_FALSE(fs::exists(run.results()));
}

TEST_F(RecordFiles, AFigureThatIsNotFiniteIsNull) {
  Records records(folder);
  records.add({.model = "teacher"}, "frechet_distance", one, std::nan(""), 100, {}, 3);
  const auto found = records.find({.model = "teacher"}, "frechet_distance", one);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->at("value").is_null());
  EXPECT_EQ(found->at("nonfinite_samples"), 3);
}

}  // namespace
}  // namespace couplet
