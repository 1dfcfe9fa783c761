#include "stages/report/sections/sections.h"

#include <fmt/format.h>

#include <utility>

namespace couplet {

namespace {

Json number_or_null(std::int64_t value) {
  return value > 0 ? Json(value) : Json();
}

Json record_json(const ScoreRecord& record) {
  const std::string uncertainty = record.uncertainty > 0 ? fmt::format(" ± {:.2g}", record.uncertainty) : "";
  return {{"run", record.run},
          {"model", record.model},
          {"denoised", record.denoised},
          {"student", record.student},
          {"coupling", record.coupling},
          {"noise", record.noise},
          {"metric", record.metric},
          {"value", record.value},
          {"uncertainty", record.uncertainty > 0 ? Json(record.uncertainty) : Json()},
          {"text", fmt::format("{:.8g}{}", record.value, uncertainty)},
          {"nfe", number_or_null(record.nfe)},
          {"solver", record.solver},
          {"grid", record.grid},
          {"split", record.split},
          {"training_seed", record.seed},
          {"sampling_seed", record.sampling_seed},
          {"guidance", record.guidance},
          {"candidates", record.candidates},
          {"guidance_text", fmt::format("{:g}", record.guidance)},
          {"ema", record.ema < 0 ? Json() : Json(record.ema)},
          {"table", record.table},
          {"samples", number_or_null(record.samples)},
          {"network", record.network},
          {"network_hash", record.network_hash},
          {"resize", record.resize},
          {"made_with", record.made_with}};
}

}  // namespace

Json record_section(const Page& page) {
  if (page.scores.records.empty()) return nullptr;
  Json records = Json::array();
  bool has_names = false, has_tables = false, has_ema_rates = false, has_candidates = false;
  for (const ScoreRecord& record : page.scores.records) {
    records.push_back(record_json(record));
    has_names |= record.student != record.coupling;
    has_tables |= !record.table.empty();
    has_ema_rates |= record.ema >= 0;
    has_candidates |= record.candidates > 1;
  }
  return {{"count", records.size()},        {"has_names", has_names},           {"has_tables", has_tables},
          {"has_ema_rates", has_ema_rates}, {"has_candidates", has_candidates}, {"list", std::move(records)}};
}

}  // namespace couplet
