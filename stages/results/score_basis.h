// What a run's Fréchet distances were measured with: only where it is equal may they be compared.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace couplet {

/// Content hashes are empty where the files that they are of are not there.
struct ScoreBasis {
  std::string run;
  std::string dataset;            ///< content hash of the training images
  std::set<std::string> network;  ///< content hashes of the networks of its scores
  std::set<std::string> resize;
  std::set<std::int64_t> samples;   ///< behind a score of a student's fresh noise; without students, of the teacher
  std::set<std::string> reference;  ///< hashes of evaluate.reference's file; "training images" without one
  std::string crop = {};            ///< how the images became square (crop_of)
};

/// Scores that do not say their network's hash are by the built-in classifier of the run, whose file is hashed instead.
ScoreBasis score_basis(const std::string& name, const RunDirectory& run, const Config& config,
                       const nlohmann::json& results);
/// In which of these two runs differ, naming both sides; empty where their scores may be compared.
std::string difference(const ScoreBasis& a, const ScoreBasis& b);

}  // namespace couplet
