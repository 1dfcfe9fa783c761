#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>

namespace couplet {
namespace {

/// "12.34"; null where there is no such record.
Json figure_of(const Page& page, const std::string& run, const std::string& model, const std::string& metric) {
  const auto found = page.scores.summary(
      [&](const ScoreRecord& record) { return record.run == run && record.model == model && record.metric == metric; });
  return found ? Json(fmt::format("{:.4g}", found->mean)) : Json();
}

}  // namespace

Json latent_section(const Page& page) {
  std::set<std::string> runs;
  for (const ScoreRecord& record : page.scores.records)
    if (record.model == "reconstruction") runs.insert(record.run);
  if (runs.empty()) return nullptr;
  Json rows = Json::array();
  for (const std::string& run : runs)
    for (const auto& [model, name] :
         {std::pair{"real", "held-out images"}, {"reconstruction", "the same, from their latents"}})
      rows.push_back({{"name", run.empty() ? name : run + ": " + name},
                      {"distance", figure_of(page, run, model, page.scores.distance)},
                      {"psnr", figure_of(page, run, model, "psnr")},
                      {"ssim", figure_of(page, run, model, "ssim")}});
  return {{"distance", metric_name(page.scores.distance).title},
          {"rows", std::move(rows)},
          {"pictures", pictures_json(page, PictureKind::reconstructed)}};
}

}  // namespace couplet
