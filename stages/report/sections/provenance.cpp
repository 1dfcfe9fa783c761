#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"

#include <utility>

namespace couplet {

namespace {

/// The configuration's file, as the command names it.
std::string file_name(const RunReport& run) {
  const std::string name = std::filesystem::path(run.name).filename().string();
  return (name.empty() ? "run" : name) + ".ini";
}

Json of_run(const Page& page, const RunReport& run) {
  Json facts = Json::array();
  for (const Fact& fact : run.provenance) facts.push_back({{"name", fact.name}, {"text", fact.text}});
  return {{"run", page.run_prefix(run)},
          {"command", run.command},
          {"config", run.config},
          {"config_file", file_name(run)},
          {"config_base64", base64(run.config)},
          {"facts", std::move(facts)}};
}

}  // namespace

Json provenance_section(const Page& page) {
  Json runs = Json::array();
  for (const RunReport& run : page.data.runs) {
    if (run.command.empty() && run.config.empty() && run.provenance.empty()) continue;
    runs.push_back(of_run(page, run));
  }
  if (runs.empty()) return nullptr;
  return {{"runs", std::move(runs)}};
}

}  // namespace couplet
