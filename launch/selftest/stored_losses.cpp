#include "launch/selftest/stored_losses.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace couplet {
namespace {

double share_of(double found, double stored) {
  return std::abs(found - stored) / std::abs(stored);
}

}  // namespace

std::string loss_difference(const std::vector<double>& found, const std::vector<double>& stored, double tolerance) {
  if (found.size() != stored.size())
    return fmt::format("there are losses of {} steps, {} were expected", found.size(), stored.size());
  for (std::size_t step = 0; step < found.size(); ++step)
    if (!(share_of(found[step], stored[step]) <= tolerance))
      return fmt::format("the loss of step {} is {:.7g}, expected {:.7g} within a share of {:.0e}", step, found[step],
                         stored[step], tolerance);
  return "";
}

double largest_difference(const std::vector<double>& found, const std::vector<double>& stored) {
  double largest = 0;
  for (std::size_t step = 0; step < std::min(found.size(), stored.size()); ++step)
    largest = std::max(largest, share_of(found[step], stored[step]));
  return largest;
}

const std::vector<double> student_losses{0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
const std::vector<double> teacher_losses{0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

}  // namespace couplet
