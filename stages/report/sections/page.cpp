#include "stages/report/sections/page.h"

#include "stages/report/html/markup.h"
#include "stages/report/html/style.h"
#include "stages/report/sections/sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace couplet {

namespace {

Scores scores_of(const ReportData& data) {
  std::vector<RunResults> results;
  for (const RunReport& run : data.runs) results.push_back({data.runs.size() > 1 ? run.name : "", run.results});
  return read_all_scores(results);
}

struct Section {
  const char *id, *title;
  std::string (*html)(const Page& page);
};

constexpr std::array sections{Section{"scores", "Scores", score_section},
                              Section{"samples", "Samples", sample_section},
                              Section{"paths", "Paths", path_section},
                              Section{"companions", "Other metrics", companion_section},
                              Section{"likelihood", "Likelihood", likelihood_section},
                              Section{"coupling", "Coupling", coupling_section},
                              Section{"training", "Training", training_section},
                              Section{"stages", "Stages", stage_section},
                              Section{"again", "Run it again", provenance_section},
                              Section{"records", "All scores", record_section}};

}  // namespace

Page::Page(const ReportData& report)
    : data(report), scores(scores_of(report)), comparisons(compare(scores)), verdict(find_verdict(scores)) {}

int Page::place(const std::string& run, const std::string& coupling) const {
  std::vector<std::pair<std::string, std::string>> seen;
  for (const ScoreCurve& curve : scores.curves) {
    const std::pair model(curve.run, curve.coupling);
    if (std::ranges::find(seen, model) == seen.end()) seen.push_back(model);
  }
  const auto found = std::ranges::find(seen, std::pair(several() ? run : "", coupling));
  return static_cast<int>(found - seen.begin());
}

std::vector<PagePicture> pictures_of(const Page& page, PictureKind kind) {
  std::vector<PagePicture> found;
  for (const RunReport& run : page.data.runs) {
    for (const SamplePicture& picture : run.pictures)
      if (picture.kind == kind) found.push_back({&run, &picture});
  }
  std::ranges::stable_sort(found, {},
                           [&](const PagePicture& each) { return page.place(each.run->name, each.picture->coupling); });
  return found;
}

std::string report_html(const ReportData& data) {
  const Page page(data);
  std::string body, links;
  for (const Section& section : sections) {
    const std::string html = section.html(page);
    if (html.empty()) continue;
    links += fmt::format("<a href=\"#{}\">{}</a>\n", section.id, section.title);
    body += fmt::format("<section aria-labelledby=\"{0}\">\n<h2 id=\"{0}\">{1}</h2>\n{2}</section>\n", section.id,
                        section.title, html);
  }
  if (!links.empty()) links = "<nav aria-label=\"Sections\">\n" + links + "</nav>\n";
  const std::string title = data.title.empty() ? "Couplet run" : data.title;
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
         escaped(title) + "</title>\n<style>" + std::string(report_style()) +
         "</style>\n</head>\n<body>\n<header>\n<h1>" + escaped(title) + "</h1>\n" + paragraph(data.program, "soft") +
         "</header>\n<main>\n" + verdict_section(page) + links + body + "</main>\n</body>\n</html>\n";
}

}  // namespace couplet
