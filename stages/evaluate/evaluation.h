// What the scores of one node share: its data, its records, and models that are opened when the first score needs them.
#pragma once

#include "method/data/dataset.h"
#include "method/models/noise_classifier.h"
#include "method/sampling/guided_field.h"
#include "method/sampling/initial_noise.h"
#include "method/scoring/scorer.h"
#include "pipeline/distributed/slices.h"
#include "pipeline/run/stage_context.h"
#include "stages/evaluate/sampling_settings.h"
#include "stages/evaluate/score_requests.h"
#include "stages/results/score_record.h"
#include "storage/tables/row_table.h"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace couplet {

/// Where the samples counted so far of the score under way are kept.
std::filesystem::path score_journal(const StageContext& context);

/// Figures of rows [first, first + count): float64 [count, figures].
using RowMeasure = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

class Evaluation {
public:
  explicit Evaluation(StageContext& stage);

  StageContext& context;
  RowTable train, test;  ///< the data set, as models see it
  DatasetShape shape;
  Records records;

  const EvaluateConfig& config() const { return context.config.evaluate; }
  /// The images themselves: the same tables, or those that latents were made of. Of latents from elsewhere they are
  /// what the program makes of the means.
  const RowTable& train_images() const { return train_images_ ? *train_images_ : train; }
  const RowTable& test_images() const { return test_images_ ? *test_images_ : test; }
  /// Of the student that is scored.
  const StudentConfig& student() const { return student_; }
  /// Names of pictures begin with it: "teacher", "nf-0".
  std::string model_name() const;

  /// Scores images by the run's network and, where there is one, its classifier. Collective at the first call.
  Scorer& scorer();
  /// The network of Fréchet distances and of the pairwise metrics; empty: the run has none.
  const ScoreNetwork& network();
  /// Features of training images; none: nothing is compared image by image.
  const RealFeatures* real();

  /// The student with the weights of one EMA rate.
  const StudentModel& student_model(double ema);
  /// Its flow, as the setting has it.
  StudentFlow flow(const FieldSetting& field);
  /// A coupling table of the run: its split, and σ_f.
  RowTable table(const std::string& name, const std::string& split) const;
  double sigma_f(const std::string& table) const;

  /// The classifier that tells the noise of a table of the run from N(0, I). Collective at the first call.
  const NoiseClassifier& noise_classifier(const std::string& table);

  /// What samples of students start from, on the CPU (method/sampling/initial_noise.h): also from noise of held-out
  /// rows of a table, whose images then give the conditions.
  InitialNoise student_noise(std::uint64_t seed, std::int64_t first, std::int64_t count) const;
  InitialNoise table_noise(const RowTable& table, double sigma_f, std::int64_t first, std::int64_t count) const;

  /// Images [first, first + count) of a table as models see them, beyond its end its last.
  at::Tensor table_images(const RowTable& table, std::int64_t first, std::int64_t count) const;
  /// With the figures of restoring images [first, ...) of the table, where samples are restored images.
  Generated with_figures(Generated made, const RowTable& images, std::int64_t first) const;
  /// A score by the run's network, its classifier and, where samples are restored images, the figures of that.
  /// Collective.
  SampleScore score(const ScoreRequest& request, std::int64_t samples, const Generator& generate);

  /// The samples of this score that were counted so far.
  SliceJournal journal(const ScoreRequest& request) const;
  /// The sums over rows, float64 [figures], of what `measure(first, count)` makes of a slice: float64 [count, figures],
  /// always a slice of full size. The same digits on any number of ranks and from the journal. Collective.
  at::Tensor sums_over_rows(const ScoreRequest& request, std::int64_t rows, std::int64_t figures,
                            const RowMeasure& measure) const;
  /// The same figures of each row, float64 [rows, figures].
  at::Tensor figures_of_rows(const ScoreRequest& request, std::int64_t rows, std::int64_t figures,
                             const RowMeasure& measure) const;

  /// Adds the figures of a score by the network and the classifier, and publishes the records.
  void keep_samples(const ScoreKey& key, const MadeWith& with, const SampleScore& score,
                    const nlohmann::json& details = nlohmann::json::object());
  /// Adds one figure, unless an attempt that was killed between two figures of one measurement left it there;
  /// publishes.
  void keep(const ScoreKey& key, const MadeWith& with, const std::string& metric, double value, std::int64_t rows,
            const nlohmann::json& details = nlohmann::json::object());

private:
  void open_network();
  void for_each_figures(const ScoreRequest& request, std::int64_t rows, std::int64_t figures, const RowMeasure& measure,
                        const std::function<void(const at::Tensor& values)>& add) const;

  std::optional<RowTable> train_images_, test_images_;  ///< where models see latents
  StudentConfig student_;
  std::optional<Scorer> scorer_;
  ScoreNetwork network_, classifier_;
  std::shared_ptr<const RealFeatures> real_;
  std::optional<std::pair<std::string, NoiseClassifier>> noise_classifier_;  ///< and its table
  std::optional<StudentModel> model_;
  double model_ema_ = 0;
};

}  // namespace couplet
