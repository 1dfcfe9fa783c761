// What a student learns: the target of its network along a path, and what the network's output then means as a
// velocity. Which ones there are stands in members.list.
#pragma once

#include "method/models/field.h"
#include "method/paths/path.h"
#include "pipeline/tensor/random.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// The law of training times (student.time-law).
enum class TimeLaw {
  logit_normal,  ///< "logit-normal": 1 / (1 + exp(-n)), n normal (arXiv 2403.03206 §3.1), brought within the ends
  uniform,       ///< "uniform"
  importance     ///< "importance": uniform in ln(σ/α), so of a density ∝ g²/σ² (ScoreFlow, arXiv 2101.09258)
};
/// Refuses a name that is none of these.
TimeLaw parse_time_law(const std::string& name);

/// What [student] says of objectives. An objective may leave some of it unused.
struct ObjectiveOptions {
  double time_mean = 0, time_std = 1;     ///< of logit(t), where training times are drawn
  std::string time_law = "logit-normal";  ///< student.time-law
  std::int64_t cnf_steps = 16;            ///< student.cnf-steps
  std::string cnf_trace = "hutchinson";   ///< student.cnf-trace
  double train_guidance = 1;              ///< student.train-guidance; 1: none
  double map_share = 0.25;                ///< student.map-share
  double map_weight_power = 1;            ///< student.map-weight-power
  double map_step = 0.01;                 ///< student.map-step
  std::string section = "student";        ///< what messages call the keys by
};

/// When a row is learnt.
struct RowTimes {
  double t = 0;
  double span = 0;  ///< Condition::span, of flow maps
};

/// What a network is asked: a state [N, ...] and its time [N].
struct FieldInput {
  at::Tensor x, t;
};

/// x: images [N, C, H, W]; z: noise of that shape; t: [N]; x_t: the path's state.
class Objective {
public:
  Objective(std::shared_ptr<const Path> path, const ObjectiveOptions& options);
  virtual ~Objective() = default;

  const Path& path() const { return *path_; }

  /// What the network is to put out at the state of (x, z, t), in the images' shape.
  virtual at::Tensor target(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const = 0;
  /// Factors [N] of the rows' errors; undefined: 1 for all.
  virtual at::Tensor weight(const at::Tensor& t) const;
  /// What the network is given for the state x_t at time t; both as they are, but in the path's scale, unless an
  /// objective says otherwise.
  virtual FieldInput input(const at::Tensor& x_t, const at::Tensor& t) const;
  /// dx/dt in our time of a network that puts out `output` at (x_t, t).
  virtual at::Tensor velocity(const at::Tensor& output, const at::Tensor& x_t, const at::Tensor& t) const = 0;
  /// True if the velocity that is learnt is the path's mean one at a state, E[dx_t/dt | x_t]: it then says what image
  /// and noise are expected there, and so the score.
  virtual bool has_score() const { return true; }
  /// Its samples are what one Euler step from t = 1 makes. More steps, and other solvers, would bring nothing.
  virtual bool is_one_step() const { return false; }
  /// Its loss compares one output of the network with its target, so that `train_guidance` has a meaning.
  virtual bool takes_guidance() const { return true; }
  /// The times between which target, weight and velocity are finite: those of training, and the nearest that a network
  /// is asked for in place of others. The path's unless an objective needs narrower ones.
  virtual double first_time() const { return path_->first_time(); }
  virtual double last_time() const { return path_->last_time(); }

  /// A training time between the first and the last, of the options' law.
  virtual double draw_time(Draws& draws) const;
  /// All that is drawn of a row's times: of a flow map its span too.
  virtual RowTimes draw_times(Draws& draws) const { return {draw_time(draws), 0}; }

  /// Whether the network also learns the mean velocity over spans of time, which its conditions then say: it is made
  /// with FieldOptions::spans. What it puts out at span 0 is the velocity.
  virtual bool is_flow_map() const { return false; }
  /// The step of time over which the loss takes differences of what the network puts out; 0: it takes none. They are of
  /// no use where waves of the time that the network sees turn fast against it.
  virtual double difference_step() const { return 0; }
  /// Whether products that are rounded more than in float32 leave nothing of what its loss compares.
  virtual bool needs_all_digits() const { return difference_step() > 0; }

  /// Whether it is of the density of the images, and takes no noise for them to be paired with. Images that are stored
  /// in levels then come to it spread over them (`spread_over_levels`): a density on single points has no bound. In
  /// place of noise, `z` is signs ±1 that are independent of the image.
  virtual bool is_of_density() const { return false; }
  /// The work of `loss` with its gradients, and that of `errors`, for an image of so many values, in forward passes.
  virtual double training_passes(std::int64_t values) const;
  virtual double error_passes(std::int64_t) const { return 1; }

  /// [N]: the weighted error ‖f(x_t, t) - target‖² of each row, mean over its values.
  virtual at::Tensor errors(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                            const Condition& condition) const;
  /// Their mean: what a student is trained by; with guidance, the mean of those of `training_output`.
  virtual at::Tensor loss(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                          const Condition& condition) const;

protected:
  /// What the network puts out at the states of (x, z, t), float32.
  at::Tensor output(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                    const Condition& condition) const;
  /// What is to meet the target in training. With w = `train_guidance` above 1 that is, of a row with a label, o_c / w
  /// + (1 - 1/w) o, where o_c is the network's output and o, without gradient and dropout, its output without the
  /// label: o_c then learns to be o + w (target - o), what guidance of scale w would make of it (guidance-free
  /// training, arXiv 2501.15420).
  at::Tensor training_output(Field& field, const at::Tensor& x, const at::Tensor& z, const at::Tensor& t,
                             const Condition& condition) const;

private:
  std::shared_ptr<const Path> path_;
  ObjectiveOptions options_;
  TimeLaw law_;
};

/// A member of the registry of objectives (method/objectives/members.list).
struct ObjectiveKind {
  std::string name;
  std::string help;  ///< one line
  /// Keys of [student] that only the objectives that name them use: students of others do not depend on them.
  std::vector<std::string> keys = {};
  /// Laws of training times that it can have.
  std::vector<std::string> time_laws = {"logit-normal", "uniform"};
  /// Refuses a path that the objective cannot have, and options that do not fit together, naming the keys.
  std::shared_ptr<const Objective> (*make)(std::shared_ptr<const Path> path, const ObjectiveOptions& options) = nullptr;
};

const std::vector<ObjectiveKind>& objective_kinds();
/// An unknown name is refused with the nearest.
const ObjectiveKind& find_objective(const std::string& name);
/// The objective of that name along a path. A law of times that it cannot have is refused too.
std::shared_ptr<const Objective> make_objective(const std::string& name, std::shared_ptr<const Path> path,
                                                const ObjectiveOptions& options);

}  // namespace couplet
