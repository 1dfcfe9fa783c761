// Minibatch optimal transport over the global batch: the images of `independent`, and its noises in another order.
// docs/couplings.md says which, and what the ranks tell each other.
#include "method/couplings/dataset_coupling.h"
#include "method/couplings/shared_problems.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/transport/batch_assignment.h"
#include "storage/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <stop_token>

namespace couplet {
namespace {

constexpr double most_rows = 32768;  // that exchange their noise: the costs take 4 GiB

/// The commonest class's share of the data set; where that is not known yet, as if all were as common.
double largest_share(const DatasetShape& shape) {
  const auto& counts = shape.class_counts;
  if (counts.empty()) return 1 / static_cast<double>(shape.labels());
  const auto all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  return static_cast<double>(std::ranges::max(counts)) / static_cast<double>(all);
}

void check_problems(const PairingOptions& options, const DatasetShape& shape, std::int64_t samples) {
  const std::int64_t classes = shape.labels(), steps = options.ot_steps, rows = options.batch * steps;
  if (options.ot_within_class && rows < rows_of_a_class * classes)
    refuse(
        "{0}.ot-within = class: {1} rows of a problem ({0}.batch · {0}.ot-steps) are fewer than {2} a class for {3} "
        "classes: hardly any noise would change its image, as in the coupling independent; set {0}.ot-steps to {4} or "
        "more, or {0}.ot-within = none",
        options.section, rows, rows_of_a_class, classes,
        (rows_of_a_class * classes + options.batch - 1) / options.batch);
  const double exchanging = (options.ot_within_class ? largest_share(shape) : 1) * static_cast<double>(rows);
  if (exchanging > most_rows)
    refuse("{}.ot-steps = {}: about {:.0f} rows would exchange their noise, more than {}: fewer steps",
           options.section, steps, exchanging, most_rows);
  const std::int64_t there = CouplingRows{samples, options.flips, options.replicates}.rows();
  if (rows > there)
    refuse(
        "{0}.batch · {0}.ot-steps = {1}: the data set has {2} rows to train on, mirror images included; in a problem of "
        "{1} they would repeat: use smaller batches, or fewer steps",
        options.section, rows, there);
}

class OtCoupling : public DatasetCoupling {
public:
  explicit OtCoupling(const CouplingSources& sources)
      : DatasetCoupling(sources),
        communicator_(*sources.communicator),
        seed_(sources.seed),
        steps_(sources.pairing.ot_steps),
        rows_(sources.pairing.batch * sources.pairing.ot_steps),
        within_class_(sources.pairing.ot_within_class),
        ahead_(stream({"image", "label"})) {
    check_problems(sources.pairing, dataset_shape(images()), images().rows());
  }

  /// The owner of the step's problem, which is problem mod ranks, tells the permutation. Of a problem of several steps
  /// it is told before the first one.
  void agree(std::int64_t step) override {
    const std::int64_t problem = step / steps_;
    if (problems_ && problem == problems_->number() - 1) return;
    if (!problems_ || problem != problems_->number()) start_solving(problem);
    std::vector<std::int64_t> permutation = problems_->next();
    const std::scoped_lock lock(mutex_);
    permutations_[problem] = std::move(permutation);
  }

  Pairs draw(const BatchRange& range) override {
    const std::int64_t problem = range.step / steps_, first = problem * rows_;
    const std::vector<std::int64_t> noise_of = permutation_of(problem);
    std::vector<std::int64_t> noises;
    for (const std::int64_t position : range.positions())
      noises.push_back(first + noise_of[static_cast<std::size_t>(position - first)]);
    Pairs pairs = read(range);
    pairs.noise = noise_at(noises);
    return pairs;
  }

  void restore(const NamedTensors&) override { problems_.reset(); }

  nlohmann::json provenance() const override {
    nlohmann::json all = DatasetCoupling::provenance();
    all["ot"] = {{"within", within_class_ ? "class" : "none"}, {"steps", steps_}};
    return all;
  }

private:
  at::Tensor noise_at(const std::vector<std::int64_t>& positions) const {
    return normal_rows(shape(), seed_, Purpose::student_noise, positions);
  }

  void start_solving(std::int64_t problem) {
    problems_.reset();
    {
      const std::scoped_lock lock(mutex_);
      permutations_.clear();
    }
    problems_.emplace(
        communicator_, problem,
        SharedProblems::Rules{
            .answer_size = rows_,
            .name =
                [this](std::int64_t number) {
                  return fmt::format("the coupling of steps {} to {}", number * steps_, (number + 1) * steps_ - 1);
                },
            .solve = [this](std::int64_t number, const std::stop_token& stop) { return solve(number, stop); },
            .after = {}});
  }

  /// Runs on the solver's thread.
  std::vector<std::int64_t> solve(std::int64_t problem, const std::stop_token& stop) {
    const BatchRange range{problem * steps_, problem * rows_, rows_, communicator_.size() * rows_};
    const std::vector<at::Tensor> read = ahead_->read(range.first, range.rows, range.batch);
    const at::Tensor images = codec().encode(read[0]);
    require_finite(images, read[2]);
    const at::Tensor permutation = transport_permutation(images, noise_at(range.positions()),
                                                         within_class_ ? read[1].to(at::kLong) : at::Tensor(), stop);
    const auto* noise_of = permutation.const_data_ptr<std::int32_t>();
    return {noise_of, noise_of + rows_};
  }

  /// Steps are drawn in order: the problems before this one are forgotten.
  std::vector<std::int64_t> permutation_of(std::int64_t problem) {
    const std::scoped_lock lock(mutex_);
    const auto found = permutations_.find(problem);
    if (found == permutations_.end()) fail("the coupling ot is asked for a step on which the ranks have not agreed");
    permutations_.erase(permutations_.begin(), found);
    return found->second;
  }

  Communicator& communicator_;
  std::uint64_t seed_;
  std::int64_t steps_, rows_;  ///< of a problem
  bool within_class_;
  std::unique_ptr<RowStream> ahead_;  ///< all rows of the problems that this rank owns
  std::mutex mutex_;                  ///< of the permutations, which one thread puts in and another takes
  std::map<std::int64_t, std::vector<std::int64_t>> permutations_;  ///< of `rows_`, by problem
  std::optional<SharedProblems> problems_;                          // last: its thread uses all of the above
};

}  // namespace

CouplingKind ot_coupling() {
  return {.name = "ot",
          .help = "images with noise of the same global batch, paired by optimal transport (arXiv 2302.00482)",
          .keys = {"student.ot-within", "student.ot-steps"},
          .least_batch = 2,
          .check = check_problems,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<OtCoupling>(sources);
          }};
}

}  // namespace couplet
