#include "stages/results/restorations.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace couplet {

namespace {

const std::vector<RestorationColumn>& restoration_columns() {
  static const std::vector<RestorationColumn> all{{"frechet_distance", "FD train"},
                                                  {"held_out_frechet_distance", "FD test"},
                                                  {"inception_score", "IS"},
                                                  {"restoration_psnr", "PSNR"},
                                                  {"restoration_ssim", "SSIM"},
                                                  {"restoration_psnr_luminance", "PSNR Y"},
                                                  {"restoration_ssim_luminance", "SSIM Y"},
                                                  {"consistency", "consistency"}};
  return all;
}

/// True if both are of one model in one setting: they differ in seeds and metrics at most.
bool same_setting(const ScoreRecord& a, const ScoreRecord& b) {
  const auto setting = [](const ScoreRecord& r) {
    return std::tuple(r.run, r.model, r.student, r.noise, r.table, r.solver, r.grid, r.adaptive() ? 0 : r.nfe, r.atol,
                      r.rtol, r.ema, r.guidance, r.guidance_from, r.guidance_to, r.temperature, r.candidates);
  };
  return setting(a) == setting(b);
}

int place_of(const ScoreRecord& record) {
  return record.model == "real" ? 0 : record.model == "upsampling" ? 1 : 2;
}

std::string name_of(const ScoreRecord& record) {
  std::string name = record.model == "real"         ? "held-out images"
                     : record.model == "upsampling" ? "enlarged low resolution"
                                                    : record.student;
  if (record.noise == "table") name += ", from held-out table z";
  if (record.guidance != 1 && record.model == "student") name += fmt::format(", guidance {}", record.guidance);
  if (record.temperature != 1) name += fmt::format(", temperature {}", record.temperature);
  if (record.candidates > 1) name += fmt::format(", {} candidates", record.candidates);
  return record.run.empty() ? name : record.run + ": " + name;
}

}  // namespace

Restorations restorations(const Scores& scores) {
  std::vector<ScoreRecord> settings;
  for (const ScoreRecord& record : scores.records)
    if (record.metric == "consistency" &&
        std::ranges::none_of(settings, [&](const ScoreRecord& other) { return same_setting(record, other); }))
      settings.push_back(record);
  std::ranges::stable_sort(settings, {}, place_of);

  Restorations table;
  for (const RestorationColumn& column : restoration_columns())
    if (!settings.empty() &&
        std::ranges::any_of(scores.records, [&](const ScoreRecord& record) { return record.metric == column.metric; }))
      table.columns.push_back(column);
  for (const ScoreRecord& setting : settings) {
    Restoration row{name_of(setting), "", {}};
    for (const RestorationColumn& column : table.columns)
      row.figures.push_back(scores.summary(
          [&](const ScoreRecord& record) { return record.metric == column.metric && same_setting(record, setting); }));
    const auto& consistency = row.figures.back();
    if (setting.model == "student" && consistency)
      row.setting = fmt::format("{}, NFE {}", setting_text(*consistency), consistency->nfe);
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string restoration_text(const ScoreSummary& figure) {
  std::string text = fmt::format("{:.4g}", figure.mean);
  if (figure.spread() > 0) text += fmt::format(" ± {:.2g}", figure.spread());
  return text;
}

}  // namespace couplet
