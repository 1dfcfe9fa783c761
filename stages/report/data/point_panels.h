// Figures of points of the plane, as the evaluate stage left them: of the data set and of each student.
#pragma once

#include "pipeline/config/config.h"
#include "pipeline/run/run_directory.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

struct PointPanels {
  std::string student;    ///< its name; empty: the data set
  nlohmann::json panels;  ///< an array, a panel each (docs/report.md); samples say of which "nfe" they are
};

/// Those that are there, of each student's first seed; none of a data set of images.
std::vector<PointPanels> read_point_panels(const RunDirectory& run, const Config& config);

}  // namespace couplet
