#include "stages/report/sections/sections.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace couplet {

namespace {

/// A table of sheets: students across, NFE down; null without any.
Json sheets(const Page& page) {
  std::vector<std::string> columns;
  std::map<std::int64_t, std::map<std::string, Json>> cells;
  for (Json& picture : pictures_json(page, PictureKind::grid)) {
    const std::string column = picture.at("name");
    if (std::ranges::find(columns, column) == columns.end()) columns.push_back(column);
    Json& cell = cells[picture.at("nfe").get<std::int64_t>()][column];
    cell.push_back(std::move(picture));
  }
  if (cells.empty()) return nullptr;
  Json rows = Json::array();
  for (auto& [nfe, of_columns] : cells) {
    Json row = Json::array();
    for (const std::string& column : columns) row.push_back({{"pictures", std::move(of_columns[column])}});
    rows.push_back({{"nfe", nfe}, {"cells", std::move(row)}});
  }
  return {{"columns", columns}, {"rows", std::move(rows)}};
}

}  // namespace

Json sample_section(const Page& page) {
  Json section{{"sheets", sheets(page)},
               {"teacher", pictures_json(page, PictureKind::teacher)},
               {"nearest", pictures_json(page, PictureKind::nearest)}};
  const bool any = !section["sheets"].is_null() || !section["teacher"].empty() || !section["nearest"].empty();
  return any ? section : Json();
}

}  // namespace couplet
