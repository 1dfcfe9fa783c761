// The models of a run, by the names that commands take: which it has trained, their sizes from the configuration, their
// weights from the run directory.
#pragma once

#include "method/couplings/coupling.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/models/autoencoder.h"
#include "method/models/classifier.h"
#include "method/models/field.h"
#include "method/models/noise_classifier.h"
#include "method/models/tarflow.h"
#include "method/objectives/objective.h"
#include "method/objectives/one_step.h"
#include "method/sampling/candidates.h"
#include "method/sampling/guided_field.h"
#include "pipeline/config/config.h"
#include "pipeline/distributed/communicator.h"
#include "pipeline/run/run_directory.h"
#include "pipeline/run/stage_context.h"

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace couplet {

/// The stage that trained a model: "teacher", or a student by name and seed ("nf-0"). A name that is no model of the
/// run's configuration, or one whose stage is not complete, is refused with the models that can be had.
StageNode trained_model(const RunView& view, const std::string& model);

/// Rows of the slices in which the ranks describe a table by a classifier.
inline constexpr std::int64_t described_slice_rows = 500;

ClassifierOptions classifier_options(const FeaturesConfig& config, const DatasetShape& shape);
/// How results name the built-in feature network: "Fashion-MNIST classifier features". Never FID, which means Inception
/// features.
std::string network_name(const Config& config);
/// The published classifier, in evaluation mode on `device`. Collective, as are the other two that load: rank 0 reads
/// the file for all.
Classifier load_classifier(const RunDirectory& run, const FeaturesConfig& config, const DatasetShape& shape,
                           c10::Device device, Communicator& communicator);

NoiseClassifierOptions noise_classifier_options(const NoiseClassifierConfig& config, const DatasetShape& shape);
/// The published classifier of a table's noise, likewise.
NoiseClassifier load_noise_classifier(const RunDirectory& run, const std::string& table,
                                      const NoiseClassifierConfig& config, const DatasetShape& shape,
                                      c10::Device device, Communicator& communicator);
/// Its estimates of log q/p, for the choice among noises (method/sampling/candidates.h).
LogRatio log_ratio_of(const NoiseClassifier& classifier, c10::Device device);

/// Of an autoencoder of the data set's pixels.
AutoencoderOptions autoencoder_options(const AutoencoderConfig& config, const DatasetShape& shape);

TarFlowOptions teacher_options(const TeacherConfig& config, const DatasetShape& shape);
/// Of the second flow, on noise of images of this shape.
TarFlowOptions gaussianiser_options(const GaussianiserConfig& config, const DatasetShape& shape);
/// Of a TarFlow, for people.
std::string tarflow_text(const TarFlowOptions& options);
/// The same as metadata of its files of weights.
std::map<std::string, std::string> tarflow_sizes(const TarFlowOptions& options);
ImageNoise teacher_noise(const TeacherConfig& config);
/// η of the denoising step that ends a teacher's sampling; 0: it has none, as it was not trained with Gaussian noise.
double denoising_std(const TeacherConfig& config);
/// The file of a trained model's weights in its stage's directory, averaged at the EMA rate; 0: the raw ones. A rate
/// that is none of `rates`, those it was trained with, is refused.
std::filesystem::path weights_file(const std::filesystem::path& directory, const std::vector<double>& rates,
                                   double ema);
/// The weights of the teacher that fill a table with the noise of images (couple.ema).
std::filesystem::path inverting_weights(const Config& config, const RunDirectory& run, const std::string& table);
/// A published teacher with these weights, in evaluation mode on `device`. Collective.
TarFlow load_teacher(const std::filesystem::path& weights, const TeacherConfig& config, const DatasetShape& shape,
                     c10::Device device, Communicator& communicator);

/// What a student's field is made from. The field that the configuration names checks it; messages call its keys by
/// `section`.
FieldOptions student_options(const StudentConfig& config, const DatasetShape& shape,
                             const std::string& section = "student");
/// How a student wants its pairs, whose keys messages call by `section`.
PairingOptions pairing_options(const Config& config, const StudentConfig& student, const std::string& section);
/// The check of it before the data set is known, for `offer_student_check`.
void check_student_options(const StudentConfig& config, const std::string& section);
/// What a student of this configuration learns, for people and records: "velocity"; "image" of a one-step student.
std::string objective_name(const StudentConfig& config);
/// The objective of a student, along its path. Refuses what does not fit together; messages call its keys by `section`.
std::shared_ptr<const Objective> student_objective(const StudentConfig& config, const std::string& section = "student");
/// A student of this field: with its objective, its labels and its source.
StudentModel student_model(std::shared_ptr<Field> field, const StudentConfig& config);
/// The same, to be trained: a loss that compares features does so by `distance`.
StudentModel student_in_training(std::shared_ptr<Field> field, const StudentConfig& config,
                                 const FeatureDistance& distance);
/// Whether its velocity says the score, which samplers that add noise need: not where the objective has none, nor where
/// the coupling starts from another source than N(0, I).
bool has_score(const StudentConfig& config);
/// Whether one evaluation makes its samples: it is then scored at NFE 1, and has neither paths nor a likelihood.
bool is_one_step(const StudentConfig& config);
/// The key of all draws of a student: of the run's seed and the student's. Equal for all couplings compared.
std::uint64_t student_seed(std::int64_t run_seed, std::int64_t student_seed);
/// A published student with these weights, in evaluation mode on `device`. Collective.
StudentModel load_student(const std::filesystem::path& weights, const StudentConfig& config, const DatasetShape& shape,
                          c10::Device device, Communicator& communicator);

}  // namespace couplet
