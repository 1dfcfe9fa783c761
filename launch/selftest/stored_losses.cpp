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

const std::vector<double> student_losses{1.42275095, 1.44202328, 1.37747395, 1.37063897, 1.34499264,
                                         1.27698421, 1.25768387, 1.18551171, 1.21862030, 1.18002570};
const std::vector<double> teacher_losses{0.24698374,  0.16907614,  0.08769462,  0.00363003,  -0.06125674,
                                         -0.10787787, -0.16619173, -0.21299124, -0.26455861, -0.29600435};

}  // namespace couplet
