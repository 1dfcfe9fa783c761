// Losses of small trainings, as they are known to be.
#pragma once

#include <string>
#include <vector>

namespace couplet {

/// By how much a loss may differ from the stored one, of 1, or of the stored one where that is larger. Stored are
/// losses of a CPU in float32, which rounds to 6e-8 of a number. Other processors and GPUs add up the same products in
/// other orders: thousands of roundings that mostly cancel. AdamW's first steps move each weight by about the learning
/// rate whatever the size of its gradient, so that a gradient which is nothing but rounding moves its weight either
/// way; but such weights hardly matter for the loss. Between instruction sets (SSE to AVX-512), threads and ranks the
/// losses of ten steps differ by less than 2e-7. The steps lower them by 0.2 and 0.5: a learning rate that is wrong by
/// a hundredth makes a difference of a hundred times this tolerance.
inline constexpr double loss_tolerance = 2e-5;

/// Says at which step losses differ first by more than the tolerance, with both numbers, or that there are too few or
/// too many of them; "" if they agree. A loss that is not finite agrees with none.
std::string loss_difference(const std::vector<double>& found, const std::vector<double>& stored,
                            double tolerance = loss_tolerance);
/// The largest difference, counted likewise.
double largest_difference(const std::vector<double>& found, const std::vector<double>& stored);

extern const std::vector<double> student_losses, teacher_losses;

}  // namespace couplet
