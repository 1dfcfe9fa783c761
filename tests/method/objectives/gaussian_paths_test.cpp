// Students whose networks are perfect, of images that are N(m, C): along every path and whatever its network gives, a
// student has the exact velocity and score, its flow ends in the exact distribution, and its likelihood is exact.
#include "method/objectives/objective.h"
#include "method/sampling/guided_field.h"
#include "method/solvers/integration.h"
#include "method/solvers/likelihood.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <string>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t values = 3;

/// Images of three values, float64.
struct Gaussian {
  at::Tensor mean = at::tensor({0.3, -0.2, 0.1}, at::kDouble);
  at::Tensor directions, variances = at::tensor({0.5, 0.2, 0.05}, at::kDouble);  ///< columns, and along each

  Gaussian() {
    const at::Tensor skewed = at::tensor({1.0, 0.4, -0.3, 0.2, 1.0, 0.5, -0.6, 0.1, 1.0}, at::kDouble).view({3, 3});
    directions = std::get<0>(at::linalg_qr(skewed));
  }
  /// The matrix that multiplies along each direction by a factor.
  at::Tensor along(const at::Tensor& factors) const { return (directions * factors).mm(directions.t()); }
  at::Tensor covariance(double alpha, double sigma) const { return along(alpha * alpha * variances + sigma * sigma); }
};

/// A path's coefficients at one time.
struct Coefficients {
  double alpha, sigma, alpha_slope, sigma_slope;

  Coefficients(const Path& path, double time) {
    const at::Tensor t = at::full({1}, time, at::kDouble);
    alpha = path.alpha(t).item<double>();
    sigma = path.sigma(t).item<double>();
    alpha_slope = path.alpha_slope(t).item<double>();
    sigma_slope = path.sigma_slope(t).item<double>();
  }
};

/// What is expected at states [n, 3] of a time.
struct Expected {
  at::Tensor image, noise, velocity, score;

  Expected(const Gaussian& gaussian, const Path& path, const at::Tensor& x_t, double time) {
    const Coefficients c(path, time);
    const at::Tensor scaled = (x_t - c.alpha * gaussian.mean).mm(at::linalg_inv(gaussian.covariance(c.alpha, c.sigma)));
    image = gaussian.mean + c.alpha * scaled.mm(gaussian.covariance(1, 0));
    noise = c.sigma * scaled;
    velocity = c.alpha_slope * image + c.sigma_slope * noise;
    score = -scaled;
  }
};

/// Gives what a network of the objective is to give. Along ve it sees states in their scale and gives velocities in
/// theirs.
class PerfectField : public Field {
public:
  PerfectField(Gaussian gaussian, std::shared_ptr<const Path> path, bool explodes, std::string output)
      : gaussian_(std::move(gaussian)), path_(std::move(path)), explodes_(explodes), output_(std::move(output)) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition&) override {
    const auto time = t[0].item<double>();
    const double sigma = 0.01 * std::pow(5000, time);
    const at::Tensor x_t = explodes_ ? x * std::sqrt(sigma * sigma + 0.5) : x;
    const Expected expected(gaussian_, *path_, x_t.flatten(1), time);
    const at::Tensor velocity = explodes_ ? expected.velocity / (sigma * std::log(5000)) : expected.velocity;
    const std::map<std::string, at::Tensor> outputs{
        {"velocity", velocity}, {"noise", expected.noise}, {"score", expected.score}, {"scoreflow", expected.score}};
    return outputs.at(output_).view(x.sizes());
  }
  std::int64_t no_label() const override { return 0; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }

private:
  Gaussian gaussian_;
  std::shared_ptr<const Path> path_;
  bool explodes_;
  std::string output_;
};

struct PerfectStudent {
  std::string name;
  std::shared_ptr<const Path> path;
  StudentModel model;

  VelocityField field(std::int64_t rows) const { return flow().velocity({at::zeros({rows}, at::kLong), {}}); }
  StudentFlow flow() const { return {model, {}, "float32"}; }
};

std::vector<PerfectStudent> perfect_students(const Gaussian& gaussian) {
  std::vector<PerfectStudent> students;
  for (const char* objective : {"velocity", "noise", "score", "scoreflow"})
    for (const char* kind : {"linear", "sigma-min", "vp", "vp-cosine", "ve"}) {
      const std::string name = kind;
      const auto path = name == "sigma-min" ? find_path("linear").make({.sigma_min = 0.05}) : find_path(name).make({});
      const auto field = std::make_shared<PerfectField>(gaussian, path, name == "ve", objective);
      students.push_back({std::string(objective) + " along " + name,
                          path,
                          {field, find_objective(objective).make(path, {.time_law = "uniform"})}});
    }
  return students;
}

at::Tensor as_images(const at::Tensor& rows) {
  return rows.view({-1, 1, 1, values});
}

TEST(GaussianPaths, VelocityNoiseImageAndScoreAreExact) {
  const Gaussian gaussian;
  at::manual_seed(1);
  const at::Tensor z = at::randn({20, values}, at::kDouble);
  for (const PerfectStudent& student : perfect_students(gaussian)) {
    const Objective& objective = *student.model.objective;
    EXPECT_TRUE(objective.has_score());
    for (const double t : {objective.first_time(), 0.01, 0.3, 0.8, objective.last_time()}) {
      const at::Tensor x_t = z * Coefficients(*student.path, t).sigma + gaussian.mean;
      const Expected expected(gaussian, *student.path, x_t, t);
      const at::Tensor velocity = student.field(20)(as_images(x_t), t), times = at::full({20}, t, at::kDouble);
      EXPECT_TRUE(velocity.flatten(1).allclose(expected.velocity, 1e-6, 1e-9)) << student.name << " at " << t;
      if (t == 0 || t == 1) continue;
      const at::Tensor noise = student.path->noise_of(velocity, as_images(x_t), times).flatten(1);
      const at::Tensor image = student.path->image_of(velocity, as_images(x_t), times).flatten(1);
      EXPECT_TRUE(noise.allclose(expected.noise, 1e-6, 1e-6)) << student.name << " at " << t;
      EXPECT_TRUE(image.allclose(expected.image, 1e-6, 1e-6)) << student.name << " at " << t;
      const at::Tensor score = -noise / per_row(student.path->sigma(times), noise);
      EXPECT_TRUE(score.allclose(expected.score, 1e-6, 1e-6)) << student.name << " at " << t;
    }
  }
}

/// Where the exact flow carries states from one time to another.
at::Tensor carried(const Gaussian& gaussian, const Path& path, const at::Tensor& x, double from, double to) {
  const Coefficients a(path, from), b(path, to);
  const at::Tensor stretch = ((b.alpha * b.alpha * gaussian.variances + b.sigma * b.sigma) /
                              (a.alpha * a.alpha * gaussian.variances + a.sigma * a.sigma))
                                 .sqrt();
  return b.alpha * gaussian.mean + (x - a.alpha * gaussian.mean).mm(gaussian.along(stretch));
}

TEST(GaussianPaths, FlowsEndInTheExactDistribution) {
  constexpr std::int64_t rows = 64;
  const Gaussian gaussian;
  at::manual_seed(4);
  const at::Tensor z = at::randn({rows, values}, at::kDouble);
  const std::vector<Integration> integrations{adaptive_integration({1e-8, 1e-8}),
                                              fixed_integration(Solver::rk4, Grid::uniform, 200)};
  for (const PerfectStudent& student : perfect_students(gaussian)) {
    const at::Tensor start = student.flow().start(as_images(z), {});
    const Coefficients end(*student.path, student.path->first_time());
    const at::Tensor covariance = gaussian.covariance(end.alpha, end.sigma);
    const at::Tensor exact = carried(gaussian, *student.path, start.flatten(1), 1, student.path->first_time());
    for (const Integration& integration : integrations) {
      const std::string what = student.name + ", " + integration.text();
      const at::Tensor made = integrate(student.field(rows), start, integration).x.flatten(1);
      EXPECT_LE((made - exact).abs().max().item<double>(), 2e-4) << what;
      const at::Tensor mean_error = (covariance.diagonal() / rows).sqrt();
      EXPECT_LE(((made.mean(0) - gaussian.mean).abs() / mean_error).max().item<double>(), 3) << what;
      const at::Tensor d = covariance.diagonal();
      const at::Tensor covariance_error = ((at::outer(d, d) + covariance.square()) / rows).sqrt();
      EXPECT_LE(((at::cov(made.t()) - covariance).abs() / covariance_error).max().item<double>(), 3) << what;
    }
  }
}

TEST(GaussianPaths, LikelihoodsAreExact) {
  constexpr std::int64_t rows = 6;
  const Gaussian gaussian;
  at::manual_seed(3);
  const at::Tensor x =
      gaussian.mean + at::randn({rows, values}, at::kDouble).mm(gaussian.along(gaussian.variances.sqrt()));
  for (const PerfectStudent& student : perfect_students(gaussian)) {
    const double scale = student.flow().prior_scale(), first = student.path->first_time();
    const FlowLikelihood found = flow_likelihood(student.field(rows), as_images(x), {1e-7, 1e-7}, /*probes=*/{}, scale);
    const Coefficients from(*student.path, first), to(*student.path, 1);
    const at::Tensor ends = carried(gaussian, *student.path, x, first, 1);
    const at::Tensor log_stretch =
        0.5 * (gaussian.covariance(to.alpha, to.sigma).logdet() - gaussian.covariance(from.alpha, from.sigma).logdet());
    const at::Tensor exact = -0.5 * ends.square().sum(1) / (scale * scale) -
                             values * (0.5 * std::log(2 * std::numbers::pi) + std::log(scale)) + log_stretch;
    const at::Tensor bits = (found.nats - exact).abs() / (values * std::numbers::ln2);
    EXPECT_LE(bits.max().item<double>(), 1e-4) << student.name;
  }
}

/// The image of a label, whatever the state and the time.
class LabelImage : public PerfectField {
public:
  LabelImage() : PerfectField({}, nullptr, false, "") {}
  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition& condition) override {
    EXPECT_TRUE(x.equal(at::zeros_like(x)) && t.equal(at::ones_like(t)));
    return per_row(condition.labels.to(x.scalar_type()) + 0.3, x).expand_as(x).contiguous();
  }
};

TEST(GaussianPaths, EverySolverEndsInTheImageOfARegression) {
  const auto objective = find_objective("regression").make(find_path("linear").make({}), {});
  const StudentFlow flow({std::make_shared<LabelImage>(), objective}, {}, "float32");
  const at::Tensor labels = at::tensor({0, 1, 2}, at::kLong), z = at::randn({3, 1, 1, values});
  const at::Tensor images = (labels + 0.3).view({3, 1, 1, 1}).expand_as(z);
  for (const Integration& integration :
       {fixed_integration(Solver::euler, Grid::uniform, 1), fixed_integration(Solver::euler, Grid::squared, 4),
        fixed_integration(Solver::midpoint, Grid::uniform, 2), fixed_integration(Solver::heun, Grid::uniform, 3),
        fixed_integration(Solver::heun_full, Grid::uniform, 2), fixed_integration(Solver::rk4, Grid::uniform, 4),
        adaptive_integration({1e-5, 1e-5})})
    EXPECT_TRUE(integrate(flow.velocity({labels, {}}), flow.start(z, {}), integration).x.allclose(images, 1e-6, 1e-6))
        << integration.text();
}

}  // namespace
}  // namespace couplet
