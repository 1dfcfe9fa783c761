// Results made up for tests of the report.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

inline const std::string scored_network = "Fashion-MNIST classifier features";

inline nlohmann::json record(const std::string& coupling, std::int64_t nfe, double value, std::int64_t seed = 0,
                             const std::string& solver = "euler", const std::string& grid = "uniform") {
  return {{"model", "student"},
          {"coupling", coupling},
          {"nfe", nfe},
          {"value", value},
          {"metric", "frechet_distance"},
          {"seed", seed},
          {"solver", solver},
          {"grid", grid},
          {"noise", "fresh"},
          {"split", ""},
          {"guidance", 1.0},
          {"samples", 5000},
          {"network", scored_network}};
}

inline nlohmann::json other(nlohmann::json base, const nlohmann::json& changes) {
  base.update(changes);
  return base;
}

/// Independent 15.8, 8.7, 3.8, 2.0 at NFE 1, 2, 4, 8; nf as given; and the rest of a finished run.
inline nlohmann::json finished_run(const std::vector<double>& nf) {
  nlohmann::json records = nlohmann::json::array();
  const std::vector<double> independent{15.8, 8.7, 3.8, 2.0};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::int64_t nfe = 1 << i;
    records.push_back(record("nf", nfe, nf[i]));
    records.push_back(record("independent", nfe, independent[i]));
    records.push_back(record("independent", nfe, independent[i] + 1, 0, "euler", "squared"));
    records.push_back(other(record("nf", nfe, nf[i] / 4), {{"noise", "table"}, {"split", "test"}}));
    records.push_back(other(record("nf", nfe, 0.75 + 0.01 * static_cast<double>(i)), {{"metric", "class_accuracy"}}));
  }
  const nlohmann::json teacher = other(record("", 0, 5.25, 0, "autoregressive", ""), {{"model", "teacher"}});
  records.push_back(teacher);
  records.push_back(other(teacher, {{"denoised", true}, {"value", 4.75}}));
  records.push_back(other(teacher, {{"model", "real"}, {"split", "test"}, {"value", 0.0063}}));
  records.push_back(other(teacher, {{"metric", "class_accuracy"}, {"value", 0.871}}));
  records.push_back(other(record("nf", 128, 0.0181), {{"metric", "curvature"}}));
  records.push_back(other(record("independent", 128, 0.0386), {{"metric", "curvature"}}));
  for (const char* split : {"train", "test"}) {
    const nlohmann::json row = other(record("nf", 8, 0.4321), {{"noise", "table"}, {"split", split}});
    records.push_back(other(row, {{"metric", "pairing_distance_ratio"}}));
    records.push_back(other(row, {{"metric", "pairing_nearest_rate"}, {"value", 0.625}}));
  }
  return {{"records", records}};
}

inline void expect_has(const std::string& text, const std::vector<std::string>& parts) {
  EXPECT_FALSE(parts.empty());
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in\n" << text;
}

inline void expect_lacks(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_EQ(text.find(part), std::string::npos) << "'" << part << "' in\n" << text;
}

}  // namespace couplet
