// The report as one HTML file: no scripts, nothing fetched, pictures and plots inside.
#pragma once

#include "stages/report/data/run_report.h"

#include <string>

namespace couplet {

/// The whole page, of one run or of several side by side. What is missing is left out. All text is escaped.
std::string report_html(const ReportData& data);

}  // namespace couplet
