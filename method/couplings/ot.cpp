// Minibatch optimal transport over the global batch: the images of `independent`, and its noises in another order.
// docs/couplings.md says which, and what the ranks tell each other.
#include "method/couplings/coupling.h"
#include "method/couplings/dataset_rows.h"
#include "method/data/dataset.h"
#include "method/data/noise.h"
#include "method/transport/batch_assignment.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/prefetch.h"
#include "pipeline/loader/row_stream.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <stop_token>

namespace couplet {
namespace {

constexpr double most_rows = 32768;          // that exchange their noise: the costs take 4 GiB
constexpr std::size_t problems_ahead = 2;    // solved, or being solved, and not told yet
constexpr std::int64_t rows_of_a_class = 2;  // on average: with fewer there is nothing to exchange

/// The problems that a rank owns, solved one after the other on a thread that is ahead of training. The destructor ends
/// the one that is being solved.
class SolvedAhead {
public:
  using Solve = std::function<at::Tensor(std::int64_t problem, const std::stop_token& stop)>;

  /// Problems first, first + every, first + 2 every, …
  SolvedAhead(std::int64_t first, std::int64_t every, Solve solve)
      : solved_(
            0, std::numeric_limits<std::int64_t>::max(),
            [=, stop = stop_.get_token(), solve = std::move(solve)](std::int64_t i) {
              return solve(first + i * every, stop);
            },
            problems_ahead) {}
  ~SolvedAhead() { stop_.request_stop(); }
  SolvedAhead(const SolvedAhead&) = delete;
  SolvedAhead& operator=(const SolvedAhead&) = delete;

  /// The next one's permutation. Throws the error that solving it ended with.
  at::Tensor next() { return solved_.next(); }

private:
  std::stop_source stop_;
  Prefetch<at::Tensor> solved_;  // last: its thread is joined first
};

class OtCoupling : public Coupling {
public:
  explicit OtCoupling(const CouplingSources& sources)
      : independent_(find_coupling("independent").make(sources)),
        images_(open_for_training(sources.train_images, dataset_format, sources.reads)),
        numbering_{images_.rows(), sources.flips, sources.replicates},
        codec_(sources.codec),
        communicator_(*sources.communicator),
        seed_(sources.seed),
        steps_(sources.ot_steps),
        rows_(sources.batch * sources.ot_steps),
        within_class_(sources.ot_within == "class"),
        stored_(std::make_shared<DatasetRows>(images_, numbering_, sources.block_rows)),
        drawn_(stored_, {"image", "label"}, sources.window_blocks, sources.seed),
        ahead_(stored_, {"image", "label"}, sources.window_blocks, sources.seed) {
    check_sizes();
  }

  /// The owner of the step's problem, which is problem mod ranks, tells the permutation. Of a problem of several steps
  /// it is told before the first one.
  void agree(std::int64_t step) override {
    const std::int64_t problem = step / steps_;
    if (solver_ && problem == agreed_) return;
    if (!solver_ || problem != agreed_ + 1) start_solving(problem);
    at::Tensor permutation = told_by_owner(problem);
    agreed_ = problem;
    const std::scoped_lock lock(mutex_);
    permutations_[problem] = std::move(permutation);
  }

  Pairs draw(const BatchRange& range) override {
    const std::int64_t problem = range.step / steps_, first = problem * rows_;
    const at::Tensor permutation = permutation_of(problem);
    const auto* noise_of = permutation.const_data_ptr<std::int32_t>();
    std::vector<std::int64_t> noises;
    for (const std::int64_t position : range.positions()) noises.push_back(first + noise_of[position - first]);
    const std::vector<at::Tensor> read = drawn_.read(range.first, range.rows, range.batch);
    return {codec_->encode(read[0]), noise_at(read[0], noises), read[1].to(at::kLong)};
  }

  std::int64_t held_out_rows() const override { return independent_->held_out_rows(); }
  Pairs held_out(const std::vector<std::int64_t>& rows) const override { return independent_->held_out(rows); }

  void restore(const NamedTensors&) override { solver_.reset(); }

  nlohmann::json provenance() const override {
    nlohmann::json all = independent_->provenance();
    all["ot"] = {{"within", within_class_ ? "class" : "none"}, {"steps", steps_}};
    return all;
  }

private:
  /// The commonest class's share of the data set.
  static double largest_share(const DatasetShape& shape) {
    const auto& counts = shape.class_counts;
    const auto all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    return counts.empty() ? 1 : static_cast<double>(std::ranges::max(counts)) / static_cast<double>(all);
  }

  void check_sizes() const {
    const DatasetShape shape = dataset_shape(images_);
    const std::int64_t classes = shape.labels();
    if (within_class_ && rows_ < rows_of_a_class * classes)
      refuse(
          "student.ot-within = class: {} rows of a problem (student.batch · student.ot-steps) are fewer than {} a "
          "class for {} classes: hardly any noise would change its image, as in the coupling independent; set "
          "student.ot-steps to {} or more, or student.ot-within = none",
          rows_, rows_of_a_class, classes, (rows_of_a_class * classes * steps_ + rows_ - 1) / rows_);
    const double share = within_class_ ? largest_share(shape) : 1;
    if (share * static_cast<double>(rows_) > most_rows)
      refuse("student.ot-steps = {}: about {:.0f} rows would exchange their noise, more than {}: fewer steps", steps_,
             share * static_cast<double>(rows_), most_rows);
    if (rows_ > stored_->rows())
      refuse(
          "{} has {} rows to train on, mirror images included; in a problem of {} (student.batch · student.ot-steps) "
          "they would repeat: use smaller batches, or fewer student.ot-steps",
          images_.path().string(), stored_->rows(), rows_);
  }

  at::Tensor noise_at(const at::Tensor& images, const std::vector<std::int64_t>& positions) const {
    return normal_rows(images.sizes().slice(1).vec(), seed_, Purpose::student_noise, positions);
  }

  void start_solving(std::int64_t problem) {
    solver_.reset();
    {
      const std::scoped_lock lock(mutex_);
      permutations_.clear();
    }
    const std::int64_t ranks = communicator_.size(), first = problem / ranks * ranks + communicator_.rank();
    solver_ = std::make_unique<SolvedAhead>(
        first < problem ? first + ranks : first, ranks,
        [this](std::int64_t number, const std::stop_token& stop) { return solve(number, stop); });
  }

  /// Runs on the solver's thread.
  at::Tensor solve(std::int64_t problem, const std::stop_token& stop) {
    const BatchRange range{problem * steps_, problem * rows_, rows_, communicator_.size() * rows_};
    const std::vector<at::Tensor> read = ahead_.read(range.first, range.rows, range.batch);
    const at::Tensor images = codec_->encode(read[0]);
    require_finite_images(images, read[2]);
    return transport_permutation(images, noise_at(read[0], range.positions()),
                                 within_class_ ? read[1].to(at::kLong) : at::Tensor(), stop);
  }

  void require_finite_images(const at::Tensor& images, const at::Tensor& rows) const {
    const at::Tensor finite = images.flatten(1).isfinite().all(1);
    if (finite.all().item<bool>()) return;
    const auto row = rows[finite.logical_not().nonzero()[0].item<std::int64_t>()].item<std::int64_t>();
    fail("{}: image {} has values that are not finite, so that no noise can be assigned to it", images_.path().string(),
         numbering_.at(row).sample);
  }

  /// The owner's permutation, or on all ranks its error. Collective.
  at::Tensor told_by_owner(std::int64_t problem) {
    const auto owner = static_cast<int>(problem % communicator_.size());
    at::Tensor told = at::zeros({1 + rows_}, at::kInt);  // the exit status of an error, and the permutation
    std::string error;
    if (communicator_.rank() == owner) {
      const WorkingAlone alone("assigning noise to images");
      try {
        told.narrow(0, 1, rows_).copy_(solver_->next());
      } catch (const Error& failure) {
        error = failure.what();
        told[0] = static_cast<int>(failure.status());
      } catch (const std::exception& failure) {
        error = failure.what();
        told[0] = static_cast<int>(exit_failed);
      }
    }
    communicator_.broadcast(told, owner);
    const int status = told[0].item<int>();
    if (status == exit_ok) return told.narrow(0, 1, rows_);
    throw Error(fmt::format("the coupling of steps {} to {}: {}", problem * steps_, (problem + 1) * steps_ - 1,
                            communicator_.broadcast_text(error, owner)),
                static_cast<ExitStatus>(status));
  }

  /// Steps are drawn in order: the problems before this one are forgotten.
  at::Tensor permutation_of(std::int64_t problem) {
    const std::scoped_lock lock(mutex_);
    const auto found = permutations_.find(problem);
    if (found == permutations_.end()) fail("the coupling ot is asked for a step on which the ranks have not agreed");
    permutations_.erase(permutations_.begin(), found);
    return found->second;
  }

  std::unique_ptr<Coupling> independent_;  ///< of the same data: its held-out pairs
  RowTable images_;
  CouplingRows numbering_;
  std::shared_ptr<const Codec> codec_;
  Communicator& communicator_;
  std::uint64_t seed_;
  std::int64_t steps_, rows_;  ///< of a problem
  bool within_class_;
  std::shared_ptr<const StoredRows> stored_;
  RowStream drawn_, ahead_;   ///< this rank's rows of the steps, and all rows of the problems that it owns
  std::int64_t agreed_ = -1;  ///< the problem on which the ranks have agreed last, while there is a solver
  std::mutex mutex_;          ///< of the permutations, which one thread puts in and another takes
  std::map<std::int64_t, at::Tensor> permutations_;  ///< int32 [rows_], by problem
  std::unique_ptr<SolvedAhead> solver_;              // last: it uses all of the above
};

}  // namespace

CouplingKind ot_coupling() {
  return {.name = "ot",
          .help = "images with noise of the same global batch, paired by optimal transport (arXiv 2302.00482)",
          .table = "",
          .keys = {"student.ot-within", "student.ot-steps"},
          .least_batch = 2,
          .make = [](const CouplingSources& sources) -> std::unique_ptr<Coupling> {
            return std::make_unique<OtCoupling>(sources);
          }};
}

}  // namespace couplet
