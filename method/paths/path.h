// A path of Gaussians from image to noise, x_t = α(t) x + σ(t) z (arXiv 2210.02747 §4): what a student is trained
// along. Which ones there are stands in members.list.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// Time runs from t = 0, the image x, to t = 1, the noise z of unit variance. Times are [N], one for each row; so are
/// coefficients, of the times' type. x and z are [N, ...].
class Path {
public:
  virtual ~Path() = default;

  virtual at::Tensor alpha(const at::Tensor& t) const = 0;
  virtual at::Tensor sigma(const at::Tensor& t) const = 0;
  virtual at::Tensor alpha_slope(const at::Tensor& t) const = 0;  ///< dα/dt
  virtual at::Tensor sigma_slope(const at::Tensor& t) const = 0;  ///< dσ/dt

  /// Standard deviation of the states that sampling starts from: σ where the images are forgotten.
  virtual double prior_scale() const { return 1; }
  /// The times between which the coefficients and their derivatives are finite. Networks are asked for no others.
  virtual double first_time() const { return 0; }
  virtual double last_time() const { return 1; }

  /// What networks see states divided by, and in which unit they put out velocities, where these do not stay near 1;
  /// undefined: 1.
  virtual at::Tensor state_scale(const at::Tensor& t) const;
  virtual at::Tensor velocity_scale(const at::Tensor& t) const;

  /// ln(σ/α), which grows with t: minus half the logarithm of the signal-to-noise ratio.
  double log_ratio(double t) const;
  /// The time between the first and the last at which ln(σ/α) is `ratio`: by bisection unless a path knows better.
  virtual double time_of_log_ratio(double ratio) const;

  /// x_t = α x + σ z
  virtual at::Tensor state(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const;
  /// dx_t/dt = α' x + σ' z
  virtual at::Tensor velocity(const at::Tensor& x, const at::Tensor& z, const at::Tensor& t) const;

  /// State and velocity say image and noise, and each of these says the others: two linear equations (reference values:
  /// tests/data/reference/paths). They hold of expected values given x_t too.
  at::Tensor noise_of(const at::Tensor& velocity, const at::Tensor& x_t, const at::Tensor& t) const;
  at::Tensor image_of(const at::Tensor& velocity, const at::Tensor& x_t, const at::Tensor& t) const;
  /// Infinite where α = 0.
  at::Tensor velocity_of_noise(const at::Tensor& z, const at::Tensor& x_t, const at::Tensor& t) const;
  /// Infinite where σ = 0.
  at::Tensor velocity_of_image(const at::Tensor& x, const at::Tensor& x_t, const at::Tensor& t) const;
  /// g² = 2 (σ σ' - σ² α'/α) of the diffusion dx = (α'/α) x dt + g dw whose states are distributed as the path's
  /// (arXiv 2011.13456): the velocity is (α'/α) x_t - ½ g² score, the score -E[z | x_t] / σ.
  at::Tensor diffusion(const at::Tensor& t) const;
  /// α σ' - α' σ, of the two equations; α g² = 2σ times it, where α = 0 too.
  at::Tensor determinant(const at::Tensor& t) const;
};

/// Whether it is x_t = (1 - t) x + t z.
bool is_straight(const Path& path);

/// Values [N] as factors of rows [N, ...]: [N, 1, ...].
at::Tensor per_row(const at::Tensor& values, const at::Tensor& rows);

/// What [student] says of paths. A path may leave some of it unused.
struct PathOptions {
  double sigma_min = 0;                           ///< student.sigma-min
  double vp_beta_min = 0.1, vp_beta_max = 20;     ///< student.vp-beta-min, student.vp-beta-max
  double ve_sigma_min = 0.01, ve_sigma_max = 50;  ///< student.ve-sigma-min, student.ve-sigma-max
  std::string section = "student";                ///< what messages call the keys by
};

/// A member of the registry of paths (method/paths/members.list).
struct PathKind {
  std::string name;
  std::string help;  ///< one line
  /// Keys of [student] that only the paths that name them use: students along other paths do not depend on them.
  std::vector<std::string> keys = {};
  /// Refuses options that do not fit together, naming the keys.
  std::shared_ptr<const Path> (*make)(const PathOptions& options) = nullptr;
};

const std::vector<PathKind>& path_kinds();
/// An unknown name is refused with the nearest.
const PathKind& find_path(const std::string& name);

}  // namespace couplet
