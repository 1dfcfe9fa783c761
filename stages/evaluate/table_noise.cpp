#include "stages/evaluate/table_noise.h"

#include "method/data/noise.h"
#include "method/gaussianisation/gaussian_map.h"
#include "method/metrics/density_ratio.h"
#include "method/statistics/prior_gap.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/loader/table_rows.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/row_chunks.h"
#include "stages/data/run_tables.h"
#include "stages/trained/models.h"
#include "storage/error.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t nll_rows_at_once = 1024;

/// Adds the records of one split of a table.
class TableRecords {
public:
  TableRecords(Evaluation& evaluation, const ScoreRequest& request, const std::string& split)
      : evaluation_(evaluation), request_(request) {
    request_.key.split = split;
  }

  const ScoreRequest& request() const { return request_; }

  void add(const char* metric, double value, std::int64_t rows,
           const nlohmann::json& details = nlohmann::json::object(), std::int64_t nonfinite = 0) {
    evaluation_.records.add(request_.key, metric, request_.with, value, rows, {}, nonfinite, details);
  }
  void add(const char* metric, const MeanEstimate& estimate, std::int64_t rows,
           nlohmann::json details = nlohmann::json::object(), std::int64_t nonfinite = 0) {
    details["standard_error"] = estimate.standard_error;
    add(metric, estimate.value, rows, details, nonfinite);
  }

private:
  Evaluation& evaluation_;
  ScoreRequest request_;
};

SplitGap measure_split(const Evaluation& evaluation, const NoiseFit& fit, const NoiseSample& sample,
                       const ScoreRequest& request) {
  return measure_gap(fit, sample, [&](std::int64_t rows, std::int64_t figures, const RowMeasure& measure) {
    return evaluation.sums_over_rows(request, rows, figures, measure);
  });
}

/// What a covariance gains, with what it would gain without shrinkage.
void add_covariance(TableRecords& records, const SplitGap& gap, const char* metric, NoiseModel model, NoiseModel plain,
                    double shrinkage) {
  const MeanEstimate unshrunk = gap.nats_of(plain);
  nlohmann::json details{{"shrinkage", shrinkage}};
  if (std::isfinite(unshrunk.value))
    details.update({{"plain", unshrunk.value}, {"plain_standard_error", unshrunk.standard_error}});
  records.add(metric, gap.nats_of(model), gap.rows, details);
}

void keep_split(TableRecords records, const NoiseFit& fit, const SplitGap& gap) {
  records.add("noise_log_density", gap.log_density(), gap.rows, {{"normal", gap.normal_log_density()}}, gap.nonfinite);
  records.add("noise_square", gap.square, gap.rows,
              {{"square_deviation", gap.square_deviation},
               {"normal_square_deviation", std::sqrt(2 / static_cast<double>(gap.values))}});
  records.add("noise_skewness", gap.skewness, gap.rows);
  records.add("noise_kurtosis", gap.kurtosis, gap.rows);
  records.add("class_mean_nats", gap.nats_of(NoiseModel::class_means), gap.rows);
  if (fit.pooled.defined()) {
    add_covariance(records, gap, "covariance_nats", NoiseModel::covariance, NoiseModel::plain_covariance,
                   fit.pooled.weight[0].item<double>());
    add_covariance(records, gap, "class_covariance_nats", NoiseModel::class_covariance,
                   NoiseModel::plain_class_covariance, fit.by_class.weight.mean().item<double>());
  }
  records.add("class_deviation_nats", gap.nats_of(NoiseModel::class_deviations), gap.rows);
}

/// What is known of the training rows alone.
void keep_spectrum(TableRecords records, const NoiseFit& fit, const SplitGap& gap) {
  if (!fit.pooled.defined()) return;
  records.add("noise_frechet_distance", gap_frechet(fit), gap.rows,
              {{"normal", normal_frechet(fit)}, {"classes", class_spectra(fit)}});
}

std::string estimate_text(const MeanEstimate& estimate) {
  return fmt::format("{:.3g} ± {:.2g}", estimate.value, estimate.standard_error);
}

void keep_difference(TableRecords records, const std::string& table, const SplitGap& train, const SplitGap& held_out) {
  const Overfitting found = compare_splits(train, held_out);
  records.add("normal_nats_difference", found.normal, held_out.rows,
              {{"overfitted", Overfitting::is_clear(found.normal)}});
  if (found.nll)
    records.add("nll_difference", *found.nll, held_out.rows,
                {{"train", train.nll->value},
                 {"test", held_out.nll->value},
                 {"overfitted", Overfitting::is_clear(*found.nll)}});
  if (found.is_clear())
    say("table {}: whatever made it is overfitted: held-out rows have {} nats an image less likelihood than training "
        "rows; train it for a shorter time, on more images, or with flips, more noise or dropout",
        table, estimate_text(found.nll.value_or(found.normal)));
}

/// "nats_closed": by all maps between a table and the one that no map made, on held-out rows, which both have in one
/// order. The nll of both are of their whole models: their difference is what the maps close, and what dividing by σ_f
/// does, which students of the other table do, too.
void keep_nats_closed(TableRecords records, const Evaluation& evaluation, const RunTable& table) {
  if (table.base.empty()) return;
  const std::string base = unmapped_table(evaluation.context.config, table).name;
  const RowTable before = evaluation.table(base, "test"), after = evaluation.table(table.name, "test");
  const auto is_nll = [](const Column& column) { return column.name == "nll"; };
  if (std::ranges::none_of(before.columns(), is_nll)) return;
  const OneThread one_thread;
  const auto values = static_cast<double>(evaluation.shape.channels * evaluation.shape.size * evaluation.shape.size);
  const double sigma_f = evaluation.sigma_f(base);
  const at::Tensor log_det = at::full({1}, -values * std::log(sigma_f), at::kDouble);
  std::vector<at::Tensor> parts;
  for (const RowPiece& piece : pieces_of(before.rows(), nll_rows_at_once)) {
    note_progress();
    const auto read = [&](const RowTable& rows, const char* column) {
      return read_rows(rows, column, piece.first, piece.count).to(at::kDouble);
    };
    const at::Tensor f = read(before, "noise");
    parts.push_back((read(before, "nll") - read(after, "nll")) * values - nats_gained(f, {f / sigma_f, log_det}));
  }
  at::Tensor closed = at::cat(parts);
  closed = closed.index({closed.isfinite()});
  const auto rows = static_cast<double>(closed.size(0));
  records.add(
      "nats_closed",
      MeanEstimate{closed.mean().item<double>(), closed.std(/*unbiased=*/true).item<double>() / std::sqrt(rows)},
      closed.size(0), {{"base", base}});
}

}  // namespace

void measure_prior_gap(Evaluation& evaluation, const ScoreRequest& request) {
  const std::string& name = request.key.table;
  const double sigma_f = evaluation.sigma_f(name);
  const std::int64_t most = evaluation.config().gap_rows;
  const RowTable trained = evaluation.table(name, "train");
  const NoiseSample sample(trained, sigma_f, most);
  const NoiseFit fit = fit_noise(sample, evaluation.shape.labels(), evaluation.context.communicator);
  const TableRecords of_train(evaluation, request, "train");
  const SplitGap train = measure_split(evaluation, fit, sample, of_train.request());
  std::optional<SplitGap> held_out;
  if (request.key.split == "test") {
    const RowTable table = evaluation.table(name, "test");
    const NoiseSample rows(table, sigma_f, most);
    held_out = measure_split(evaluation, fit, rows, request);
    const TableRecords of_test(evaluation, request, "test");
    keep_difference(of_test, name, train, *held_out);
    keep_nats_closed(of_test, evaluation, find_run_table(evaluation.context.config, name));
    keep_split(of_test, fit, *held_out);
  }
  keep_spectrum(of_train, fit, train);
  keep_split(of_train, fit, train);
  if (evaluation.context.communicator.is_root()) evaluation.records.publish();
  const SplitGap& shown = held_out ? *held_out : train;
  say("table {}: on {} {} rows class means gain {} nats an image over N(0, I), with deviations {}; |z|²/d {}, kurtosis "
      "{:.3f}",
      name, shown.rows, held_out ? "held-out" : "training", estimate_text(shown.nats_of(NoiseModel::class_means)),
      estimate_text(shown.nats_of(NoiseModel::class_deviations)), estimate_text(shown.square), shown.kurtosis);
}

void test_noise(Evaluation& evaluation, const ScoreRequest& request) {
  const StageContext& context = evaluation.context;
  const std::string& name = request.key.table;
  const RowTable table = evaluation.table(name, "test");
  const NoiseSample sample(table, evaluation.sigma_f(name), evaluation.config().gap_rows);
  const LogRatio log_ratio = log_ratio_of(evaluation.noise_classifier(name), context.device);
  const DatasetShape& shape = evaluation.shape;
  const std::vector<std::int64_t> sizes{shape.channels, shape.size, shape.size};
  const auto measure = [&](std::int64_t first, std::int64_t count) {
    const NoiseRows rows = sample.read(first, count);
    std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
    std::iota(numbers.begin(), numbers.end(), first);
    const at::Tensor fresh =
        normal_rows(sizes, static_cast<std::uint64_t>(context.config.pipeline.seed), Purpose::classifier_test, numbers);
    return at::stack({log_ratio(rows.z.to(at::kFloat).view(fresh.sizes()), rows.label), log_ratio(fresh, rows.label)},
                     1)
        .to(at::kDouble);
  };
  at::Tensor logits = evaluation.figures_of_rows(request, sample.rows(), 2, measure);
  logits = logits.index({logits.isfinite().all(1)});
  const std::int64_t rows = logits.size(0), nonfinite = sample.rows() - rows;
  if (rows < 2)
    fail("{}: of its {} rows {} are finite, too few for a test", table.path().string(), sample.rows(), rows);
  const at::Tensor of_table = logits.select(1, 0).contiguous(), of_fresh = logits.select(1, 1).contiguous();
  const AreaUnderCurve area = area_under_curve(of_table, of_fresh);
  const DivergenceBound bound = divergence_bound(of_table, of_fresh);
  TableRecords records(evaluation, request, "test");
  records.add("noise_auc", MeanEstimate{area.value, area.standard_error}, rows, nlohmann::json::object(), nonfinite);
  records.add("noise_log_ratio", MeanEstimate{bound.value, bound.standard_error}, rows,
              {{"mean_logit", bound.mean_logit}, {"log_normaliser", bound.log_normaliser}}, nonfinite);
  if (context.communicator.is_root()) evaluation.records.publish();
  say("table {}: a classifier tells held-out noise from N(0, I) with an area under the ROC curve of {:.4f} ± {:.2g}, "
      "and finds at least {} nats an image between them",
      name, area.value, area.standard_error, estimate_text({bound.value, bound.standard_error}));
}

}  // namespace couplet
