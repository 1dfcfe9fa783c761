#include "stages/couple/semidiscrete_table.h"

#include "method/couplings/image_atoms.h"
#include "method/data/noise.h"
#include "method/tables/seeds_table_writer.h"
#include "method/transport/noise_assignment.h"
#include "method/transport/potentials.h"
#include "pipeline/checkpoint/checkpoint.h"
#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/shared_tensors.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/row_chunks.h"
#include "stages/data/seen_rows.h"
#include "storage/files/atomic_file.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

namespace couplet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char potentials_file[] = "potentials.safetensors";
constexpr double usual_noises_an_atom = 100;
constexpr std::int64_t noises_a_chunk = 64;
/// χ² is measured with noises enough for this part of the target as its standard error.
constexpr double error_of_target = 0.25;

/// Rows `first`, first + 1, … of numbered noise, drawn on several threads at once.
at::Tensor numbered_rows(std::int64_t first, std::int64_t count,
                         const std::function<at::Tensor(const std::vector<std::int64_t>&)>& draw) {
  return by_row_chunks(
      count, at::kCPU,
      [&](std::int64_t from, std::int64_t rows) {
        std::vector<std::int64_t> numbers(static_cast<std::size_t>(rows));
        std::iota(numbers.begin(), numbers.end(), first + from);
        return draw(numbers);
      },
      noises_a_chunk);
}

/// The potentials of a run's images: what is learnt, from what, and where it is kept.
class SemidiscreteStage {
public:
  explicit SemidiscreteStage(StageContext& context)
      : context_(context),
        config_(couple_config(context.config, context.node.table)),
        communicator_(context.communicator),
        seed_(static_cast<std::uint64_t>(context.config.pipeline.seed)),
        images_(seen_rows(context.config, context.run, "train"), dataset_format),
        image_atoms_(images_, dataset_shape(images_), config_.flips, config_.sd_within == "class"),
        projection_(project_atoms(image_atoms_, config_.sd_dims, communicator_)),
        atoms_(
            image_atoms_.blocks(), [this](std::int64_t block) { return projection_.points(image_atoms_, block); },
            communicator_, context.device),
        descent_(atoms_, [this](std::int64_t first, std::int64_t count) { return learning_noise(first, count); },
                 {.batch = config_.sd_batch, .steps = steps(), .rate_factor = config_.sd_rate}),
        checkpoints_(context.directory() / "checkpoints", context.config.pipeline.keep_checkpoints, provenance(),
                     communicator_) {}

  void say_plan() const;
  /// Goes on from the newest checkpoint, if there is one.
  void resume();
  void learn();
  void publish();

private:
  std::int64_t steps() const {
    return config_.sd_steps > 0 ? config_.sd_steps
                                : descent_steps(image_atoms_.blocks(), config_.sd_batch, usual_noises_an_atom);
  }
  nlohmann::json provenance() const {
    return {{"stage", context_.node.fingerprint}, {"dataset", images_.content_hash()}};
  }
  double seconds() const { return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count(); }

  at::Tensor learning_noise(std::int64_t first, std::int64_t count) const;
  at::Tensor table_noise(std::int64_t first, std::int64_t count) const;
  bool check_is_due() const { return descent_.done() || descent_.steps_done() % config_.sd_check_every == 0; }
  void check();
  void save();
  std::vector<std::int64_t> assign();
  void write_table(const std::vector<std::int64_t>& atom_of_noise, const std::filesystem::path& directory) const;
  nlohmann::json table_provenance() const;
  nlohmann::json table_summary() const;

  StageContext& context_;
  CoupleConfig config_;
  Communicator& communicator_;
  std::uint64_t seed_;
  Clock::time_point start_ = Clock::now();
  double seconds_before_ = 0;  ///< of earlier attempts, up to their last checkpoint
  RowTable images_;
  ImageAtoms image_atoms_;
  AtomProjection projection_;
  Atoms atoms_;
  PotentialDescent descent_;
  CheckpointStore checkpoints_;
  MassError error_;  ///< as it was measured last
};

void SemidiscreteStage::say_plan() const {
  const AtomBlocks& blocks = image_atoms_.blocks();
  const double share = static_cast<double>(blocks.atoms()) / static_cast<double>(communicator_.size());
  say("{} images of {} values{}, at most {} steps of {} noises; images take {:.0f} MB of each of {} ranks",
      blocks.atoms(), projection_.dimension(), blocks.groups() > 1 ? fmt::format(", {} classes", blocks.groups()) : "",
      steps(), config_.sd_batch, 4e-6 * share * static_cast<double>(projection_.dimension()), communicator_.size());
  if (projection_.axes.defined())
    say("{} of {} principal axes hold {:.1f} % of the images' variance", projection_.dimension(), image_atoms_.values(),
        100 * projection_.share);
}

/// The projection of standard normal noise is standard normal: what is learnt needs no other values.
at::Tensor SemidiscreteStage::learning_noise(std::int64_t first, std::int64_t count) const {
  return numbered_rows(first, count, [this](const std::vector<std::int64_t>& numbers) {
    return normal_rows({projection_.dimension()}, seed_, Purpose::potential_noise, numbers);
  });
}

at::Tensor SemidiscreteStage::table_noise(std::int64_t first, std::int64_t count) const {
  return projection_.noise(numbered_rows(first, count, [this](const std::vector<std::int64_t>& numbers) {
    return noise_of_ids(image_atoms_.image_shape(), seed_, numbers).flatten(1);
  }));
}

void SemidiscreteStage::resume() {
  const auto checkpoint = checkpoints_.load_newest();
  if (!checkpoint) return;
  NamedTensors state;
  run_on_all(communicator_, [&] {
    if (communicator_.is_root()) state = checkpoint->file(potentials_file);
  });
  descent_.restore(broadcast_tensors(state, communicator_));
  seconds_before_ = checkpoint->last.value("seconds", 0.0);
  say("goes on from step {} of {}", descent_.steps_done(), steps());
}

void SemidiscreteStage::save() {
  const NamedTensors state = descent_.state();
  run_on_all(communicator_, [&] {
    if (!communicator_.is_root()) return;
    const WorkingAlone alone("saving potentials");
    checkpoints_.write({descent_.steps_done(), {{potentials_file, state}}, {{"seconds", seconds()}}, {}});
  });
}

void SemidiscreteStage::check() {
  note_progress(fmt::format("measuring chi-squared after step {} of {}", descent_.steps_done(), steps()));
  error_ = descent_.mass_error(error_of_target * config_.sd_target);
  say("step {}/{}: chi2 {:.4f} ± {:.4f} of {} noises, target {}", descent_.steps_done(), steps(), error_.chi2,
      error_.standard_error, error_.noises, config_.sd_target);
}

void SemidiscreteStage::learn() {
  Progress progress(descent_.steps_done(), steps(), static_cast<double>(context_.config.pipeline.log_every));
  for (;;) {
    if (check_is_due()) {
      check();
      if (error_.chi2 <= config_.sd_target || descent_.done()) break;
    }
    if (agree_to_stop(communicator_)) {
      save();
      throw Interrupted(
          fmt::format("{}: stopped on request after step {} of {}; its potentials are saved and the same command goes "
                      "on from there",
                      context_.node.name, descent_.steps_done(), steps()));
    }
    descent_.advance();
    const std::int64_t done = descent_.steps_done();
    note_progress(fmt::format("step {} of {}", done, steps()));
    if (progress.due(done))
      say("step {}/{}, {:.0f} noises/s, {} left at most", done, steps(),
          progress.rate(done) * static_cast<double>(config_.sd_batch), progress.remaining(done));
    if (done % context_.config.pipeline.checkpoint_every == 0) save();
  }
  if (error_.chi2 > config_.sd_target && communicator_.is_root())
    warn_line(
        fmt::format("{}: chi2 is {:.4f} ± {:.4f} after all {} steps, above couple.sd-target = {}: images have "
                    "uneven shares of the noise; more couple.sd-steps make them more even",
                    context_.node.name, error_.chi2, error_.standard_error, steps(), config_.sd_target));
  save();
}

std::vector<std::int64_t> SemidiscreteStage::assign() {
  const std::int64_t noises = config_.sd_draws * image_atoms_.blocks().atoms();
  Progress progress(0, noises, static_cast<double>(context_.config.pipeline.log_every));
  return assign_noises(
      atoms_, descent_.average(), config_.sd_draws,
      [this](std::int64_t first, std::int64_t count) { return table_noise(first, count); },
      [&](std::int64_t done) {
        note_progress(fmt::format("noise {} of {}", done, noises));
        if (progress.due(done))
          say("noise {}/{}, {:.0f} noises/s, {} left", done, noises, progress.rate(done), progress.remaining(done));
        if (done < noises && agree_to_stop(communicator_))
          throw Interrupted(
              fmt::format("{}: stopped on request while noises were assigned; the potentials are saved and "
                          "the same command assigns them",
                          context_.node.name));
      });
}

nlohmann::json SemidiscreteStage::table_provenance() const {
  return {{"kind", context_.node.table},
          {"dataset", images_.content_hash()},
          {"split", "train"},
          {"seed", seed_},
          {"flips", config_.flips},
          {"within", config_.sd_within},
          {"dims", config_.sd_dims},
          {"draws", config_.sd_draws}};
}

nlohmann::json SemidiscreteStage::table_summary() const {
  return {{"steps", descent_.steps_done()},
          {"noises", descent_.steps_done() * config_.sd_batch},
          {"seconds", seconds()},
          {"chi2", error_.chi2},
          {"chi2_standard_error", error_.standard_error},
          {"chi2_noises", error_.noises},
          {"axes_share", projection_.share}};
}

void SemidiscreteStage::write_table(const std::vector<std::int64_t>& atom_of_noise,
                                    const std::filesystem::path& directory) const {
  const NoisesOfRows sorted = noises_of_rows(atom_of_noise, image_atoms_.rows());
  std::filesystem::create_directories(directory);
  remove_leftovers(directory);
  const auto read = [&](std::int64_t first, std::int64_t count) {
    SeedRows rows;
    auto row = std::ranges::upper_bound(sorted.firsts, first) - sorted.firsts.begin() - 1;
    for (std::int64_t place = first; place < first + count; ++place) {
      while (sorted.firsts[static_cast<std::size_t>(row) + 1] <= place) ++row;
      const CouplingRow image = image_atoms_.image_of_row(row);
      rows.noise_id.push_back(sorted.noises[static_cast<std::size_t>(place)]);
      rows.label.push_back(image_atoms_.label(image.sample));
      rows.sample.push_back(image.sample);
      rows.flip.push_back(image.flip ? 1 : 0);
    }
    return rows;
  };
  const ShardPlan plan{std::ssize(atom_of_noise), config_.shard_rows};
  write_seeds_table(directory, {plan, config_.block_rows, table_provenance()}, read, table_summary());
}

void SemidiscreteStage::publish() {
  const std::vector<std::int64_t> atom_of_noise = assign();
  const auto directory = context_.run.table(context_.node.table, "train");
  run_on_all(communicator_, [&] {
    if (!communicator_.is_root()) return;
    const WorkingAlone alone("writing " + directory.string());
    write_table(atom_of_noise, directory);
  });
  say("{} noises of {} images, chi2 {:.4f} ± {:.4f} after {} steps, {:.0f} s in all", atom_of_noise.size(),
      image_atoms_.blocks().atoms(), error_.chi2, error_.standard_error, descent_.steps_done(), seconds());
}

}  // namespace

void make_semidiscrete_table(StageContext& context) {
  SemidiscreteStage stage(context);
  stage.say_plan();
  stage.resume();
  stage.learn();
  stage.publish();
}

}  // namespace couplet
