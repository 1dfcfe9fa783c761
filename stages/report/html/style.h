// The style sheet of the report.
#pragma once

#include <string_view>

namespace couplet {

/// CSS for report_html and svg_plot: light and dark by the reader's preference, one column on a phone, black on white
/// in print. Line colours c0 ... c7 keep a contrast of at least 3:1 with the page in both, and never are the only
/// difference between lines.
std::string_view report_style();

}  // namespace couplet
