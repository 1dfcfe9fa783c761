#include "stages/results/likelihoods.h"

#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"

#include <utility>

namespace couplet {

Json likelihood_section(const Page& page) {
  Json models = Json::array();
  for (const Likelihood& likelihood : likelihoods(page.scores)) {
    models.push_back({{"name", likelihood.model},
                      {"metric", likelihood.metric},
                      {"title", metric_name(likelihood.metric).title},
                      {"score", figure(likelihood.score.mean, likelihood.text())},
                      {"images", likelihood.score.samples},
                      {"training_seeds", likelihood.score.seeds},
                      {"trace", likelihood.trace}});
  }
  if (models.empty()) return nullptr;
  return {{"models", std::move(models)}};
}

}  // namespace couplet
