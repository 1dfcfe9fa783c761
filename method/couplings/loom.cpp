// LOOM-CFM (Davtyan, Dadi, Cevher, Favaro, ICLR 2025): each row of the data has k noises of its own, and the rows of a
// batch exchange them so that image and noise lie close, over the whole training.
#include "method/couplings/dataset_coupling.h"
#include "method/couplings/loom_schedule.h"
#include "method/couplings/shared_problems.h"
#include "method/data/dataset.h"
#include "method/tables/seeds_table_writer.h"
#include "method/transport/noise_slots.h"
#include "method/transport/slot_history.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "storage/error.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace couplet {
namespace {

/// What the ranks know of a step that they have agreed on.
struct LoomStep {
  std::int64_t step = 0;
  std::int64_t generation = 0;
  std::vector<std::int64_t> ids;                         ///< of each row of the global batch
  std::vector<std::int64_t> changed_slots, changed_ids;  ///< what it leaves in the table
  std::optional<std::vector<std::int64_t>> whole_table;  ///< where the steps before do not tell the rest of the table
};

/// The warm-up of a generation, kept for a training that goes back to its beginning, as after a batch that was tried.
struct WarmedUp {
  std::int64_t generation = -1;
  std::vector<std::int64_t> ids;
};

void check_exchanges(const PairingOptions& options, const DatasetShape& shape, std::int64_t samples) {
  const LoomOptions& loom = options.loom;
  const std::int64_t rows = CouplingRows{samples, options.flips}.rows(), classes = shape.labels();
  if (loom.slots < 1) refuse("{}.loom-slots = {}: a row has at least one noise", options.section, loom.slots);
  if (options.batch > rows)
    refuse("{}.batch = {}: coupling loom needs as many rows; the data set has {}, mirrored ones counted",
           options.section, options.batch, rows);
  if (loom.within_class && options.batch < rows_of_a_class * classes)
    refuse(
        "{0}.loom-within = class: {0}.batch = {1} is fewer than {2} rows a class for {3} classes: hardly any noise would "
        "change its image; use batches of {4} or more, or {0}.loom-within = none",
        options.section, options.batch, rows_of_a_class, classes, rows_of_a_class * classes);
  if (loom.train_after > 0 && !loom.swaps)
    refuse("{0}.loom-train-after = {1}: a warm-up exchanges noises, which {0}.loom-swaps = false forbids",
           options.section, loom.train_after);
}

LoomSchedule loom_schedule(const CouplingSources& sources, const RowTable& images, std::int64_t rows) {
  check_exchanges(sources.pairing, dataset_shape(images), images.rows());
  return {rows, sources.pairing.batch, sources.pairing.loom.resample_every, sources.pairing.loom.train_after};
}

/// A row of the data set is one of the table, whatever the coupling tables of the run have: a copy would be no other
/// image.
CouplingSources without_replicates(CouplingSources sources) {
  sources.pairing.replicates = 1;
  return sources;
}

/// Three threads meet here. The one that trains agrees on a step, which changes the table of noises; the one that makes
/// batches uses what was agreed on, and notes what the table was after its own step; the one that solves reads, ahead,
/// slots that nothing changes any more before the step that it solves.
class LoomCoupling : public DatasetCoupling {
public:
  explicit LoomCoupling(const CouplingSources& sources)
      : DatasetCoupling(without_replicates(sources)),
        options_(sources.pairing.loom),
        schedule_(loom_schedule(sources, images(), numbering().rows())),
        seed_(sources.seed),
        communicator_(*sources.communicator),
        order_(order()),
        solved_rows_(stream({"image", "label"})),
        table_(numbering().rows() * options_.slots),
        history_(table_.ids(), 0) {}

  void agree(std::int64_t step) override {
    if (step != next_step_) fail("coupling loom agrees on step {} next; it was asked for step {}", next_step_, step);
    if (!begun_) begin_exchanges();
    LoomStep agreed;
    agreed.step = step;
    agreed.generation = schedule_.generation_of(step);
    while (next_exchange_ < schedule_.exchange_of(step)) warm_up();
    exchange(&agreed);
    ++next_step_;
    const std::scoped_lock lock(mutex_);
    agreed_.push_back(std::move(agreed));
  }

  Pairs draw(const BatchRange& range) override {
    const LoomStep step = take(range.step);
    Pairs pairs = read(range);
    const auto own = step.ids.begin() + (range.first - range.step * schedule_.batch);
    pairs.noise = noise(step.generation, {own, own + range.rows});
    if (step.whole_table)
      history_.add_whole(*step.whole_table);
    else
      history_.add(step.changed_slots, step.changed_ids);
    return pairs;
  }

  NamedTensors state() const override { return history_.state(); }

  void restore(const NamedTensors& state) override {
    problems_.reset();
    begun_ = false;
    agreed_.clear();
    history_ = SlotHistory(state);
    NoiseSlots table(history_.ids());
    if (table.size() != table_.size())
      fail("the state of coupling loom is a table of {} noises; expected {}", table.size(), table_.size());
    table_ = std::move(table);
    next_step_ = history_.steps();
    next_exchange_ = next_step_ == 0 ? 0 : schedule_.exchange_of(next_step_ - 1) + 1;
  }

  void publish(const std::filesystem::path& directory) const override;

private:
  /// Solving begins with the next exchange.
  void begin_exchanges() {
    const std::int64_t generation = schedule_.exchange(next_exchange_).generation;
    if (next_exchange_ == schedule_.first_exchange(generation) && generation == warmed_up_.generation) {
      table_ = NoiseSlots(warmed_up_.ids);
      next_exchange_ += schedule_.warm_up();
    } else {
      begin_generation();
    }
    begun_ = true;
    if (!options_.swaps) return;
    problems_.emplace(
        communicator_, next_exchange_,
        SharedProblems::Rules{
            .answer_size = schedule_.batch,
            .name = [](std::int64_t number) { return fmt::format("exchange {} of coupling loom", number); },
            .solve = [this](std::int64_t number, const std::stop_token& stop) { return solve(number, stop); },
            .after = [this](std::int64_t number) { return schedule_.exchange(number).after; }});
  }

  /// Draws all noises anew where the next exchange is the first of a generation.
  void begin_generation() {
    if (next_exchange_ == schedule_.first_exchange(schedule_.exchange(next_exchange_).generation))
      table_ = NoiseSlots(table_.size());
  }

  void warm_up() {
    const LoomExchange at = schedule_.exchange(next_exchange_);
    const std::int64_t done = next_exchange_ - schedule_.first_exchange(at.generation);
    note_progress(fmt::format("warming noises up, exchange {} of {}", done, schedule_.warm_up()));
    exchange(nullptr);
    if (done + 1 == schedule_.warm_up()) warmed_up_ = {at.generation, table_.ids()};
  }

  /// Does the next exchange; `step`: what it is one of, if it is no warm-up. Collective.
  void exchange(LoomStep* step) {
    const std::int64_t position = schedule_.exchange(next_exchange_).first_position;
    const DrawnSlots drawn = draw_slots(order_.at(position, schedule_.batch), options_.slots, seed_, position);
    const std::vector<std::int64_t> before = table_.ids_of(drawn.slot);
    const std::vector<std::int64_t> ids = table_.exchange(drawn, taken(drawn));
    if (step) note_changes(*step, drawn, before, ids);
    ++next_exchange_;
    begin_generation();
    if (problems_) problems_->settle();
  }

  std::vector<std::int64_t> taken(const DrawnSlots& drawn) {
    return problems_ ? problems_->next(table_.digest()) : drawn.first;
  }

  void note_changes(LoomStep& step, const DrawnSlots& drawn, const std::vector<std::int64_t>& before,
                    const std::vector<std::int64_t>& after) {
    step.ids = after;
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (!drawn.takes_part(static_cast<std::int64_t>(i)) || before[i] == after[i]) continue;
      step.changed_slots.push_back(drawn.slot[i]);
      step.changed_ids.push_back(after[i]);
    }
    const bool begins = step.step == schedule_.first_step(step.generation);
    if (begins && (step.generation > 0 || schedule_.warm_up() > 0)) step.whole_table = table_.ids();
  }

  /// On the thread that solves. No step that is not agreed on before this one touches its slots: see LoomExchange.
  std::vector<std::int64_t> solve(std::int64_t number, const std::stop_token& stop) {
    const LoomExchange at = schedule_.exchange(number);
    const std::vector<at::Tensor> read =
        solved_rows_->read(at.first_position, schedule_.batch, schedule_.batch * communicator_.size());
    const auto* rows = read[2].const_data_ptr<std::int64_t>();
    const DrawnSlots drawn = draw_slots({rows, rows + schedule_.batch}, options_.slots, seed_, at.first_position);
    const at::Tensor images = codec().encode(read[0]);
    require_finite(images, read[2]);
    return assign_noises(images, noise(at.generation, table_.ids_of(drawn.slot)), drawn,
                         options_.within_class ? read[1].to(at::kLong) : at::Tensor(), stop);
  }

  at::Tensor noise(std::int64_t generation, std::vector<std::int64_t> ids) const {
    for (std::int64_t& id : ids) id += generation * table_.size();
    return noise_of_ids(shape(), seed_, ids);
  }

  LoomStep take(std::int64_t step) {
    const std::scoped_lock lock(mutex_);
    if (agreed_.empty() || agreed_.front().step != step)
      fail("coupling loom was asked for step {}, on which the ranks have not agreed", step);
    LoomStep taken = std::move(agreed_.front());
    agreed_.pop_front();
    return taken;
  }

  LoomOptions options_;
  LoomSchedule schedule_;
  std::uint64_t seed_;
  Communicator& communicator_;

  RowOrder order_;  // of the thread that trains
  std::int64_t next_step_ = 0, next_exchange_ = 0;
  bool begun_ = false;
  WarmedUp warmed_up_;
  std::unique_ptr<RowStream> solved_rows_;  // of the thread that solves
  NoiseSlots table_;                        // after all exchanges agreed on
  SlotHistory history_;                     // of the thread that makes batches: after the last step drawn
  std::mutex mutex_;
  std::deque<LoomStep> agreed_;             // and not drawn yet
  std::optional<SharedProblems> problems_;  // last: its thread uses the others
};

void LoomCoupling::publish(const std::filesystem::path& directory) const {
  const std::int64_t generation = schedule_.generation_of(std::max<std::int64_t>(history_.steps() - 1, 0));
  std::vector<std::int64_t> ids = history_.ids();
  require_permutation(ids);
  for (std::int64_t& id : ids) id += generation * table_.size();
  const at::Tensor labels = read_rows(images(), "label", 0, images().rows());
  const auto* label = labels.const_data_ptr<std::int32_t>();
  SeedRows rows;
  for (std::int64_t row = 0; row < numbering().rows(); ++row) {
    const auto own = ids.begin() + row * options_.slots;
    std::sort(own, own + options_.slots);
    const CouplingRow image = numbering().at(row);
    for (std::int64_t c = 0; c < options_.slots; ++c) rows.add(own[c], label[image.sample], image.sample, image.flip);
  }
  publish_seeds(directory / seeds_folder, rows,
                {{"kind", "loom"},
                 {"dataset", images().content_hash()},
                 {"seed", seed_},
                 {"flips", numbering().flips},
                 {"slots", options_.slots},
                 {"within", options_.within_class ? "class" : "none"},
                 {"generation", generation}});
}

}  // namespace

CouplingKind loom_coupling() {
  return {
      .name = "loom",
      .help =
          "each image with noises of its own, which the images of a batch exchange so as to lie close "
          "(LOOM-CFM, ICLR 2025)",
      .keys = {"student.loom-slots", "student.loom-resample-every", "student.loom-train-after", "student.loom-swaps",
               "student.loom-within"},
      .least_batch = 2,
      .check = check_exchanges,
      .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
        return std::make_unique<LoomCoupling>(sources);
      }};
}

}  // namespace couplet
