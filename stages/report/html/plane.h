// Figures of points of the plane as inline SVG.
#pragma once

#include "stages/report/html/template.h"

#include <nlohmann/json.hpp>

namespace couplet {

/// The panel as the evaluate stage wrote it, and as `drawing` the `view_box` and the `svg` of an <svg> element: a
/// density as cells, paths as lines, arrows and points. Colours are the page's. A panel of another form is an error.
Json panel_json(const nlohmann::json& panel);

}  // namespace couplet
