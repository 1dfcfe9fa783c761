// Samples on request, from any trained model of a run (`couplet sample`).
#pragma once

#include "method/data/dataset.h"
#include "method/models/tarflow.h"
#include "method/sampling/candidates.h"
#include "method/sampling/guided_field.h"
#include "method/sampling/initial_noise.h"
#include "method/solvers/integration.h"
#include "pipeline/run/stage_context.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace couplet {

/// The classes that samples are asked for.
struct LabelChoice {
  std::vector<std::int64_t> classes;  ///< used in turn; empty: every class
  bool as_data = false;               ///< instead: those that evaluations ask for, as often as in the training images
};

struct SampleRequest {
  std::string model;          ///< "teacher", or a student: name-seed
  std::optional<double> ema;  ///< rate of the averaged weights; 0: the raw ones; none: the first of the training's
  std::int64_t count = 100;
  LabelChoice labels;
  /// Images that a student is to restore, used in turn; empty: the student is given none.
  std::filesystem::path low_resolution;
  std::uint64_t seed = 0;  ///< of the noise; equal seeds give equal noise for all models, that of evaluations
  Integration integration = fixed_integration(Solver::euler, Grid::uniform, 4);  ///< of a student
  bool says_steps = false;      ///< the user named a solver or steps that are not the one step of a one-step student
  Guidance guidance;            ///< of a student
  double temperature = 1;       ///< of a student: factor of the noise
  std::int64_t candidates = 1;  ///< noises that a student's sample starts from one of, by its table's noise classifier
  TarFlowSampling teacher;
  bool denoise = true;  ///< teacher trained with Gaussian noise: with its final denoising step
};

/// A trained model at work on a request. Sample i is a function of the request without its count, of the precision and
/// of the number of rows made at once.
class Sampler {
public:
  /// A model that is not trained yet, or unknown, is refused with those there are; so is a label that the data set
  /// lacks, a stochastic solver of a student without a score or at another temperature than 1, such a temperature of a
  /// student that starts from a source of its own or from no noise, and with candidates, and `denoise` switched off
  /// where the teacher has no such step; so are other steps than the one of a one-step student, which takes it where
  /// the user named none; candidates of a student whose table has no noise classifier; and low-resolution images that
  /// are missing, of another shape than the data set's, or given to a model that takes none. Collective, unlike `make`.
  Sampler(const RunView& view, const SampleRequest& request, c10::Device device, Communicator& communicator);

  const DatasetShape& shape() const { return shape_; }
  /// What was asked for, with the one step of a one-step student.
  const SampleRequest& request() const { return request_; }
  /// The classes asked for, int64 [count]; of restored images of which nobody said one, that of no label.
  at::Tensor labels(std::int64_t first, std::int64_t count) const;
  /// Images, as models see them, of samples [first, first + count), and the evaluations made for a student's (a
  /// teacher's: 0).
  Integrated make(std::int64_t first, std::int64_t count) const;

private:
  /// Of noise and condition on the device, of samples from `first` on.
  using Maker = std::function<Integrated(std::int64_t first, const InitialNoise& initial)>;

  std::filesystem::path weights(const RunView& view, const StageNode& node, const TrainingConfig& training) const;
  void open_low_resolution(const StageNode& node);
  Maker student_maker(const RunView& view, const StageNode& node, Communicator& communicator);
  void choose_among_candidates(const RunView& view, const StageNode& node, Communicator& communicator);
  Maker teacher_maker(const RunView& view, const StageNode& node, Communicator& communicator) const;

  SampleRequest request_;
  c10::Device device_;
  DatasetShape shape_;
  at::Tensor low_pixels_;  ///< uint8 [n, C, h, w]; undefined: none
  bool labelled_ = true;
  std::int64_t no_label_ = 0;  ///< of a student
  LogRatio log_ratio_;         ///< by which one of several candidates is taken
  Maker maker_;
};

}  // namespace couplet
