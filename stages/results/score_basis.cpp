#include "stages/results/score_basis.h"

#include "method/data/dataset.h"
#include "pipeline/tensor/weights.h"
#include "stages/results/score_record.h"
#include "storage/error.h"
#include "storage/tables/filenames.h"
#include "storage/tables/table_manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace couplet {

namespace {

std::string classifier_hash(const RunDirectory& run) {
  return std::filesystem::exists(run.classifier()) ? tensors_hash(read_tensors(run.classifier())) : "";
}

std::string reference_of(const ScoreRecord& record, const Config& config) {
  const std::string hash = record.reference_hash();
  return hash.empty() && config.evaluate.reference.empty() ? "training images" : hash;
}

std::string side(const std::set<std::string>& values) {
  return values.empty() || *values.begin() == "" ? "none recorded" : fmt::format("{}", fmt::join(values, ", "));
}

}  // namespace

ScoreBasis score_basis(const std::string& name, const RunDirectory& run, const Config& config,
                       const nlohmann::json& results) {
  ScoreBasis basis;
  basis.run = name;
  basis.dataset = table_hash(run.train_images());
  if (!basis.dataset.empty()) basis.crop = crop_of(load_manifest(run.train_images(), dataset_format).at("provenance"));
  std::set<std::int64_t> of_teacher;
  for (const ScoreRecord& record : read_records(results)) {
    if (record.metric != "frechet_distance") continue;
    basis.network.insert(record.network_hash.empty() ? classifier_hash(run) : record.network_hash);
    basis.reference.insert(reference_of(record, config));
    // Results from before the resize was recorded are the classifier's, which has none.
    basis.resize.insert(record.resize.empty() ? "none" : record.resize);
    if (record.model == "student" && record.noise == "fresh") basis.samples.insert(record.samples);
    if (record.model == "teacher") of_teacher.insert(record.samples);
  }
  // Students are what runs are compared by; where there are none, it is the teacher.
  if (basis.samples.empty()) basis.samples = of_teacher;
  return basis;
}

std::string difference(const ScoreBasis& a, const ScoreBasis& b) {
  const auto differ = [&](const std::string& what, const std::string& of_a, const std::string& of_b) {
    return fmt::format("{} of {} is {}, of {} {}", what, a.run, of_a.empty() ? "not known" : of_a, b.run,
                       of_b.empty() ? "not known" : of_b);
  };
  if (!a.crop.empty() && !b.crop.empty() && a.crop != b.crop) return differ("prepare.crop", a.crop, b.crop);
  if (a.dataset.empty() || a.dataset != b.dataset) return differ("the data set", a.dataset, b.dataset);
  // A run without scores has nothing that could be mixed.
  if (a.network.empty() || b.network.empty()) return "";
  if (a.reference.contains("") || a.reference != b.reference)
    return differ("evaluate.reference", side(a.reference), side(b.reference));
  if (a.network.contains("") || a.network != b.network)
    return differ("the network's hash", side(a.network), side(b.network));
  if (a.resize != b.resize) return differ("the network's resize", side(a.resize), side(b.resize));
  if (!a.samples.empty() && !b.samples.empty() && a.samples != b.samples) {
    return differ("the number of samples a score", fmt::format("{}", fmt::join(a.samples, ", ")),
                  fmt::format("{}", fmt::join(b.samples, ", ")));
  }
  return "";
}

}  // namespace couplet
