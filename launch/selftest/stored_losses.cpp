#include "launch/selftest/stored_losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace couplet {
namespace {

double distance(double found, double stored) {
  return std::abs(found - stored) / std::max(1.0, std::abs(stored));
}

}  // namespace

std::string loss_difference(const std::vector<double>& found, const std::vector<double>& stored, double tolerance) {
  if (found.size() != stored.size())
    return fmt::format("there are losses of {} steps, {} were expected", found.size(), stored.size());
  for (std::size_t step = 0; step < found.size(); ++step)
    if (!(distance(found[step], stored[step]) <= tolerance))
      return fmt::format("the loss of step {} is {:.7g}, expected {:.7g} within {:.0e}", step, found[step],
                         stored[step], tolerance);
  return "";
}

double largest_difference(const std::vector<double>& found, const std::vector<double>& stored) {
  double largest = 0;
  for (std::size_t step = 0; step < std::min(found.size(), stored.size()); ++step)
    largest = std::max(largest, distance(found[step], stored[step]));
  return largest;
}

const std::vector<double> student_losses{1.422751, 1.442023, 1.377474, 1.370639, 1.344993,
                                         1.276984, 1.257684, 1.185512, 1.218620, 1.180026};
const std::vector<double> teacher_losses{0.2469837,  0.1690761,  0.0876946,  0.0036300,  -0.0612567,
                                         -0.1078779, -0.1661917, -0.2129912, -0.2645586, -0.2960044};

}  // namespace couplet
