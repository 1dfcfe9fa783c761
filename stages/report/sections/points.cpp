#include "stages/report/html/plane.h"
#include "stages/report/sections/sections.h"

#include <utility>

#include <nlohmann/json.hpp>

namespace couplet {

Json point_section(const Page& page) {
  Json models = Json::array();
  for (const RunReport& run : page.data.runs)
    for (const PointPanels& of : run.points) {
      Json panels = Json::array();
      for (const nlohmann::json& panel : of.panels) panels.push_back(panel_json(panel));
      const bool is_data = of.student.empty();
      models.push_back({{"name", page.name(run, is_data ? "the data" : of.student)},
                        {"run", page.run_prefix(run)},
                        {"student", is_data ? Json() : Json(of.student)},
                        {"colour", is_data ? Page::colour_real : page.colour(run.name, of.student)},
                        {"panels", std::move(panels)}});
    }
  if (models.empty()) return nullptr;
  return {{"models", std::move(models)}};
}

}  // namespace couplet
