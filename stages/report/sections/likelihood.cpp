#include "stages/results/facts.h"

#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"

namespace couplet {

std::string likelihood_section(const Page& page) {
  const std::vector<Likelihood> all = likelihoods(page.scores);
  if (all.empty()) return "";
  Table table("rows", "Negative log₂-likelihood of held-out images a value, ± the standard error over images");
  table.header({"model", "value", "metric", "images", "training seeds", "trace"});
  for (const Likelihood& likelihood : all) {
    table.row(likelihood.model, {{escaped(likelihood.text())},
                                 {escaped(metric_name(likelihood.metric).title), "text"},
                                 {std::to_string(likelihood.score.samples)},
                                 {std::to_string(likelihood.score.seeds)},
                                 {escaped(likelihood.trace), "text"}});
  }
  return table.html();
}

}  // namespace couplet
