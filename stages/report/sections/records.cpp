#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"
#include "stages/results/metric_names.h"

#include <fmt/format.h>

namespace couplet {

namespace {

std::string number_or_nothing(std::int64_t value) {
  return value > 0 ? std::to_string(value) : "";
}

std::vector<std::string> fields(const ScoreRecord& record) {
  return {
      record.coupling,
      record.noise,
      record.metric,
      fmt::format("{:.8g}{}", record.value, record.uncertainty > 0 ? fmt::format(" ± {:.2g}", record.uncertainty) : ""),
      number_or_nothing(record.nfe),
      record.solver,
      record.grid,
      record.split,
      std::to_string(record.seed),
      std::to_string(record.sampling_seed),
      fmt::format("{:g}", record.guidance),
      number_or_nothing(record.samples),
      record.network,
      record.network_hash,
      record.resize};
}

}  // namespace

std::string record_section(const Page& page) {
  if (page.scores.records.empty()) return "";
  Table table("records", "Every score with solver, grid, seeds, samples, network");
  table.header({"model", "coupling", "noise", "metric", "value", "NFE", "solver", "grid", "split", "training seed",
                "sampling seed", "guidance", "samples", "network", "network's hash", "resize"});
  for (const ScoreRecord& record : page.scores.records) {
    std::string model = record.model + (record.denoised ? ", denoised" : "");
    if (!record.run.empty()) model = record.run + ": " + model;
    std::vector<Cell> cells;
    for (const std::string& text : fields(record)) cells.push_back({escaped(text)});
    table.row(model, cells);
  }
  return details(fmt::format("All {} scores, with solver, grid, seeds, samples", page.scores.records.size()),
                 table.html());
}

}  // namespace couplet
