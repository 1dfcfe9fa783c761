#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"

namespace couplet {

namespace {

/// A link that saves a text as a file, from the page itself.
std::string save_link(const std::string& name, const std::string& text) {
  return "<a download=\"" + escaped(name) + "\" href=\"data:text/plain;charset=utf-8;base64," + base64(text) +
         "\">Save " + escaped(name) + "</a>";
}

/// As the command names it.
std::string file_name(const RunReport& run) {
  const std::string name = std::filesystem::path(run.name).filename().string();
  return (name.empty() ? "run" : name) + ".ini";
}

std::string of_run(const Page& page, const RunReport& run) {
  std::string html;
  if (page.several()) html += "<h3>" + escaped(run.name) + "</h3>\n";
  if (!run.config.empty())
    html += "<p>" + save_link(file_name(run), run.config) + ", the resolved configuration, then:</p>\n";
  if (!run.command.empty()) html += "<pre class=\"wrap\"><code>" + escaped(run.command) + "</code></pre>\n";
  Table table("facts", page.name(run, "What it was made from and with: content hashes and versions"));
  for (const Fact& fact : run.provenance) table.row(fact.name, {{escaped(fact.text), "text"}});
  if (!table.empty()) html += table.html();
  if (!run.config.empty())
    html += details("The resolved configuration", "<pre tabindex=\"0\"><code>" + escaped(run.config) + "</code></pre>");
  return html;
}

}  // namespace

std::string provenance_section(const Page& page) {
  std::string html;
  for (const RunReport& run : page.data.runs) {
    if (run.command.empty() && run.config.empty() && run.provenance.empty()) continue;
    html += of_run(page, run);
  }
  if (html.empty()) return "";
  return html + paragraph(
                    "At equal data set, program version, ranks and threads a rank the results are the same; with "
                    "other ranks, the same to float tolerance.",
                    "soft");
}

}  // namespace couplet
