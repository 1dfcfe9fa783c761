// Losses of small trainings, as they are known to be.
#pragma once

#include <string>
#include <vector>

namespace couplet {

/// By how much a loss may differ from the stored one, as a share of it. Stored are losses of a CPU in float32, which
/// rounds to 6e-8 of a number. Other processors and GPUs add up the same products in other orders: thousands of
/// roundings that mostly cancel. AdamW's first steps move each weight by about the learning rate whatever the size of
/// its gradient, so that a gradient which is nothing but rounding moves its weight either way; such weights hardly
/// matter for the loss. Between instruction sets, threads and ranks losses of ten steps differ by less than 1e-6
/// (docs/commands.md); a learning rate that is wrong by a hundredth, or one row that is left out, changes them by 1e-4
/// and more.
inline constexpr double loss_tolerance = 2e-5;

/// Says at which step losses differ first by more than the tolerance, with both numbers, or that there are too few or
/// too many of them; "" if they agree. A loss that is not finite agrees with none.
std::string loss_difference(const std::vector<double>& found, const std::vector<double>& stored,
                            double tolerance = loss_tolerance);
/// The largest difference as a share of the stored loss.
double largest_difference(const std::vector<double>& found, const std::vector<double>& stored);

extern const std::vector<double> student_losses, teacher_losses;

}  // namespace couplet
