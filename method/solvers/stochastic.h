// Samplers that add noise on their way from noise to data. They serve every objective, since a velocity and the path
// that it was learnt along say which image and which noise are expected at a state.
#pragma once

#include "method/paths/path.h"
#include "method/solvers/velocity_field.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// The last of n steps adds no noise: it ends in the image that is expected there, and asks for nothing at t = 0.
enum class StochasticSolver {
  ancestral,  ///< "ancestral": draws from q(x_s | x_t, E[x | x_t]) (DDPM, arXiv 2006.11239 eq. 7), NFE = n
  sde,        ///< "sde": Euler-Maruyama steps of the reverse SDE (arXiv 2011.13456 eq. 6), NFE = n
  corrector   ///< "corrector": before every step of "sde" one of Langevin dynamics at its time (arXiv 2011.13456 §4.2
              ///< and appendix G), NFE = 2n
};

std::string_view stochastic_name(StochasticSolver solver);
/// The inverse; nothing for any other name.
std::optional<StochasticSolver> find_stochastic_solver(std::string_view name);

std::int64_t stochastic_evaluations(StochasticSolver solver, std::int64_t steps);
/// The number of steps of exactly `nfe` evaluations. Refuses an NFE that the solver cannot spend exactly.
std::int64_t stochastic_steps(StochasticSolver solver, std::int64_t nfe);

/// Standard normal values in the state's shape: a function of the number of the draw, which counts from 0 along a path.
using SolverNoise = std::function<at::Tensor(std::int64_t draw)>;
/// Most draws of a path.
inline constexpr std::int64_t most_draws = std::int64_t{1} << 20;

/// What stochastic solvers know besides the velocity.
struct NoisyPath {
  std::shared_ptr<const Path> path;
  double first_time = 0, last_time = 1;  ///< between which the velocity is known; outside it is that of the nearest
  SolverNoise noise;
};

/// What a velocity says of a state.
struct Expectation {
  at::Tensor image, noise;  ///< E[x | x_t], E[z | x_t]; the score is -E[z | x_t] / σ
};
/// The solution of x_t = α x + σ z, v = α' x + σ' z, linear in x_t and v as expectations are.
Expectation expected(const Path& path, const at::Tensor& x_t, const at::Tensor& velocity, double t);

/// w(t) of the SDEs dx = (v - ½ w score) dt + √w dW̄ back in time, each of which has the path's marginals
/// (arXiv 2401.08740 §2). On paths that keep something of the image at their last time (VP, VE) it is the g² of the
/// diffusion that makes them, 2 (σσ' - σ² α'/α). Where α comes to 0 that is infinite, and w = α g² = 2σ (ασ' - α'σ) in
/// its place: on the straight path 2σ, SiT's choice.
double diffusion_coefficient(const Path& path, double t);

/// The image at the end of the path that starts in `start` at t = 1, along times as `require_times` has them.
/// Arithmetic in start's type, no gradients.
at::Tensor solve_stochastically(const VelocityField& field, const at::Tensor& start, StochasticSolver solver,
                                const std::vector<double>& times, const NoisyPath& along);

}  // namespace couplet
