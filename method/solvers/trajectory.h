// How straight and how long a field's paths are.
#pragma once

#include "method/solvers/velocity_field.h"

#include <cstdint>
#include <vector>

namespace couplet {

/// Figures of each row's own path, sampled with Euler steps on the uniform grid: x_1 = z, x_0 is the sample, v the
/// velocity, whose mean over the path is x_1 - x_0. They are float64 on the CPU, one a row; the caller takes their
/// means over a set of samples in an order of its own.
struct PathShape {
  at::Tensor curvature;  ///< [rows]: κ = mean over values of ∫₀¹ (v(x_t, t) - (x_1 - x_0))² dt; 0: straight
  at::Tensor straightness;  ///< [rows]: ‖x_1 - x_0‖ / ∫₀¹ ‖v(x_t, t)‖ dt, in (0, 1]; 1: straight. Of no way: 1
  at::Tensor transport;  ///< [rows]: ‖x_1 - x_0‖², squared pixel units of a whole image
  at::Tensor deviation;  ///< [rows, times]: mean over values of (v(x_t, t) - (x_1 - x_0))² at deviation_times(steps)
};

/// Makes `steps` evaluations. κ is the variance of the velocity over the steps, by Welford's update in float64 while
/// walking: no difference of large squares, and only the velocities at the deviation's times are kept.
PathShape path_shape(const VelocityField& field, const at::Tensor& z, std::int64_t steps = 128);

/// The times from 1 down, of `steps` uniform steps, at which the deviation along a path is told: each step's, or up to
/// 32 at even distances of as many more.
std::vector<double> deviation_times(std::int64_t steps);

/// The states of Euler paths from `z` on the uniform grid of `steps` at the times nearest to 1, 1 - 1/parts ... 0: x of
/// z's shape, parts + 1 of them.
std::vector<at::Tensor> trajectory(const VelocityField& field, const at::Tensor& z, std::int64_t steps,
                                   std::int64_t parts);

}  // namespace couplet
