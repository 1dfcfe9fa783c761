#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace couplet {

namespace {

std::string column_of(const Page& page, const PagePicture& sample) {
  return page.name(*sample.run, sample.picture->coupling);
}

std::string cell(const Page& page, const PagePicture& sample) {
  const SamplePicture& picture = *sample.picture;
  return picture_figure(
      picture.path, fmt::format("Grid of samples of {} at NFE {}", page.name(*sample.run, picture.title), picture.nfe),
      picture.title);
}

std::string grid(const Page& page, const std::vector<PagePicture>& samples) {
  std::vector<std::string> columns;
  std::map<std::int64_t, std::map<std::string, std::string>> cells;
  for (const PagePicture& sample : samples) {
    const std::string column = column_of(page, sample);
    if (std::ranges::find(columns, column) == columns.end()) columns.push_back(column);
    cells[sample.picture->nfe][column] += cell(page, sample);
  }
  if (cells.empty()) return "";
  Table table("samples", page.several() ? "Samples of each run by coupling (across) and NFE (down)"
                                        : "The same noise and labels in every cell: only the coupling (across) and the "
                                          "number of evaluations (down) differ");
  std::vector<std::string> header{"NFE"};
  header.insert(header.end(), columns.begin(), columns.end());
  table.header(header, "text");
  for (const auto& [nfe, row] : cells) {
    std::vector<Cell> shown;
    for (const std::string& column : columns) shown.push_back({row.contains(column) ? row.at(column) : "–"});
    table.row(std::to_string(nfe), shown);
  }
  return table.html();
}

}  // namespace

std::string sample_section(const Page& page) {
  std::vector<PagePicture> samples;
  std::string models, nearest;
  for (const PagePicture& each : pictures_of(page, PictureKind::samples)) {
    const std::string title = page.name(*each.run, each.picture->title);
    if (each.picture->nfe > 0)
      samples.push_back(each);
    else
      models += picture_figure(each.picture->path, "Grid of images: " + title, title);
  }
  for (const auto& [run, picture] : pictures_of(page, PictureKind::nearest)) {
    const std::string title = page.name(*run, picture->title);
    nearest += picture_figure(picture->path, title, title);
  }
  std::string html = grid(page, samples);
  if (!models.empty()) html += "<h3>For comparison</h3>\n<div class=\"pictures\">" + models + "</div>\n";
  if (!nearest.empty()) {
    html += "<h3>Nearest training images</h3>\n" +
            paragraph(
                "Each row of samples, and below it the training images whose features are the nearest: a model "
                "that copied its training images would show the same picture twice.") +
            "<div class=\"pictures\">" + nearest + "</div>\n";
  }
  return html;
}

}  // namespace couplet
