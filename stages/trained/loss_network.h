// The network whose features a student's loss compares (student.feature-weight): a file of the user's, or a classifier
// that the run trains for it.
#pragma once

#include "method/data/dataset.h"
#include "method/features/loss_network.h"
#include "method/models/classifier.h"
#include "pipeline/config/config.h"
#include "pipeline/run/stage_context.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>

namespace couplet {

/// What of a student leaves the key without a say: "kind = flow", "image-loss = mse"; "": nothing.
std::string why_unused(const StudentConfig& student, const std::string& key);

bool has_feature_loss(const StudentConfig& student);
/// The stage `loss-features` trains it.
bool needs_loss_classifier(const StudentConfig& student);

/// Half as wide again as the classifier that scores, smooth where that one is not, and of another seed.
ClassifierOptions loss_classifier_options(const FeaturesConfig& config, const DatasetShape& shape);
std::uint64_t loss_classifier_seed(std::int64_t run_seed);
std::string loss_classifier_name(const Config& config);

/// The network of a student's loss, on the stage's device; nothing: its loss compares no features. Collective.
std::optional<LossNetwork> load_loss_network(const StageContext& context, const StudentConfig& student,
                                             const DatasetShape& shape);
/// The same of a student's file, to find out before any work whether it can be; refuses what it cannot be with the data
/// set, naming the keys by `section`.
std::optional<LossNetwork> try_loss_network(const Config& config, const StudentConfig& student,
                                            const DatasetShape& shape, const std::string& section);

/// Floating-point operations of the built-in network for a training image: of the image, of what the student makes, and
/// back through the latter. 0 where there is none; those of a user's network are not known.
double loss_network_flops(const Config& config, const StudentConfig& student, const DatasetShape& shape);

/// What a student's summary.json says of it: `loss_network`, `loss_network_hash` and `loss_network_weights`.
nlohmann::json facts_of(const LossNetwork& network);
/// Of the trained student: those of them that records of its scores have too; {} where its loss compared no features.
nlohmann::json loss_network_facts(const RunDirectory& run, const StageNode& evaluation);
/// Refuses, for the student of this evaluation, a network that scores it and is that of its loss: by the hash of the
/// file, which may be "", or by weights that both have (`share_weights`).
void require_other_network(const RunDirectory& run, const StageNode& evaluation, const std::string& name,
                           const std::string& hash, const std::set<std::string>& weights);

}  // namespace couplet
