#include "stages/results/restorations.h"

#include "stages/report/sections/findings.h"
#include "stages/report/sections/sections.h"

#include <utility>

namespace couplet {

Json restoration_section(const Page& page) {
  const Restorations table = restorations(page.scores);
  if (table.rows.empty()) return nullptr;
  Json columns = Json::array(), rows = Json::array();
  for (const RestorationColumn& column : table.columns)
    columns.push_back({{"metric", column.metric}, {"title", column.title}});
  for (const Restoration& row : table.rows) {
    Json cells = Json::array();
    for (std::size_t i = 0; i < row.figures.size(); ++i) {
      const auto& score = row.figures[i];
      cells.push_back({{"metric", table.columns[i].metric},
                       {"score", score ? figure(score->mean, restoration_text(*score)) : Json()}});
    }
    rows.push_back({{"name", row.model}, {"setting", row.setting}, {"cells", std::move(cells)}});
  }
  return {{"columns", std::move(columns)},
          {"rows", std::move(rows)},
          {"pictures", pictures_json(page, PictureKind::restored)}};
}

}  // namespace couplet
