// The report: its data, and one HTML file of it, without scripts, that fetches nothing; pictures and plots are inside.
#pragma once

#include "stages/report/data/run_report.h"
#include "stages/report/html/template.h"

#include <string>

namespace couplet {

/// Everything that the page shows, of one run or of several side by side (docs/report.md), and what is made of it for
/// the page alone: plots drawn, pictures in base64.
Json report_page(const ReportData& data);
/// The page. All text is escaped; what is missing is left out.
std::string report_html(const Json& page);
/// Its data for programs: pictures by path, plots as figures.
std::string report_json(const Json& page);

/// The name of the picture of a coupling table's rows, in the folder of the report: "coupling-nf-train.png".
std::string table_picture(const CouplingFacts& table);

}  // namespace couplet
