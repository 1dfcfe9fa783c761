// Paths, what they say of image, noise and velocity, and losses along them, against other people's implementations.
#include "method/objectives/objective.h"
#include "method/paths/path.h"
#include "tests/method/reference.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace couplet::testing {
namespace {

/// Of a path here, and in the file.
using Names = std::vector<std::pair<std::string, std::string>>;

/// The file's paths, with its pairs at all of its times.
struct Paths {
  ReferenceFile file{"paths"};
  std::vector<double> beta = numbers("beta"), ve = numbers("ve");
  at::Tensor t = file["t"], x = at_all_times("x"), z = at_all_times("z"), net = at_all_times("net");

  std::vector<double> numbers(const char* name) const {
    return nlohmann::json::parse(file.metadata.at(name)).get<std::vector<double>>();
  }
  at::Tensor at_all_times(const char* name) const {
    return file[name].unsqueeze(0).expand({file["t"].size(0), -1, -1});
  }
  std::shared_ptr<const Path> path(const std::string& name, double sigma_min = 0) const {
    return find_path(name).make({.sigma_min = sigma_min,
                                 .vp_beta_min = beta[0],
                                 .vp_beta_max = beta[1],
                                 .ve_sigma_min = ve[0],
                                 .ve_sigma_max = ve[1]});
  }
};

/// Values of which at least half are finite in the reference, relative to the larger of 1 and the value.
void expect_equal(const at::Tensor& found, const at::Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  const at::Tensor finite = expected.isfinite();
  EXPECT_GE(2 * finite.sum().item<std::int64_t>(), finite.numel()) << what;
  const at::Tensor gap = (found - expected).abs() / expected.abs().clamp_min(1);
  EXPECT_LE(gap.masked_select(finite).nan_to_num(1e9).max().item<double>(), tolerance) << what;
}

TEST(PathReference, CoefficientsOfVpAndVe) {
  const Paths given;
  const auto vp = given.path("vp"), ve = given.path("ve");
  expect_equal(vp->alpha(given.t), given.file["vp.alpha"], 1e-12, "alpha");
  expect_equal(vp->sigma(given.t), given.file["vp.sigma"], 1e-9, "sigma");
  expect_equal(vp->alpha_slope(given.t), given.file["vp.dalpha"], 1e-12, "dalpha");
  expect_equal(vp->sigma_slope(given.t), given.file["vp.dsigma"], 1e-7, "dsigma");
  expect_equal(vp->diffusion(given.t.slice(0, 1)), given.file["vp.beta"].slice(0, 1), 1e-9, "beta is g²");
  expect_equal(ve->sigma(given.t), given.file["ve.sigma"], 1e-12, "ve.sigma");
}

TEST(PathReference, StatesAndVelocities) {
  const Paths given;
  for (const auto& [ours, theirs] : Names{{"linear", "condot"}, {"vp", "vp"}, {"ve", "ve"}}) {
    const auto path = given.path(ours);
    const std::string& name = theirs;
    expect_equal(path->state(given.x, given.z, given.t), given.file[name + ".xt"], 1e-9, name);
    expect_equal(path->velocity(given.x, given.z, given.t), given.file[name + ".u"], 1e-7, name);
  }
}

TEST(PathReference, VelocitiesOfANoiseAndOfAnImage) {
  const Paths given;
  for (const auto& [ours, theirs] : Names{{"linear", "condot"}, {"vp", "vp"}}) {
    const auto path = given.path(ours);
    const std::string& name = theirs;
    const at::Tensor x_t = given.file[name + ".xt"];
    expect_equal(path->velocity_of_noise(given.net, x_t, given.t), given.file[name + ".u_from_eps"], 1e-7, name);
    expect_equal(path->velocity_of_image(given.net, x_t, given.t), given.file[name + ".u_from_data"], 1e-7, name);
  }
}

TEST(PathReference, TheStraightPathWithNoiseLeft) {
  const Paths given;
  std::size_t found = 0;
  for (const auto& [name, target] : given.file.tensors) {
    if (!name.starts_with("ot_") || !name.ends_with(".target")) continue;
    ++found;
    const std::string key = name.substr(0, name.size() - std::string(".target").size());
    const auto path = given.path("linear", std::stod(key.substr(3)));
    expect_equal(path->state(given.x, given.z, given.t), given.file[key + ".xt"], 1e-12, key);
    const at::Tensor velocity = path->velocity(given.x, given.z, given.t);
    expect_equal(velocity, target.unsqueeze(0).expand_as(velocity), 1e-12, key + ", the same at all times");
    expect_equal(velocity, given.file[key + ".u"], 1e-7, key);
  }
  EXPECT_EQ(found, given.numbers("sigma_min").size());
}

/// What an objective's errors of the output weigh as errors of the velocity.
at::Tensor weight_of_velocity(const Objective& objective, const at::Tensor& t) {
  const at::Tensor zero = at::zeros({t.size(0), 1}, at::kDouble), one = at::ones_like(zero);
  const at::Tensor slope = (objective.velocity(one, zero, t) - objective.velocity(zero, zero, t)).flatten();
  const at::Tensor weight = objective.weight(t);
  return (weight.defined() ? weight : at::ones_like(t)) / slope.square();
}

TEST(PathReference, WeightsOfErrorsOfTheVelocity) {
  const Paths given;
  for (const auto& [ours, theirs] : Names{{"linear", "condot"}, {"vp", "vp"}, {"ve", "ve"}}) {
    const auto path = given.path(ours);
    const auto expect = [&](const char* objective, const std::string& name) {
      const at::Tensor inner = (given.t >= 1e-5).logical_and(given.t < 1);
      const at::Tensor t = given.t.masked_select(inner), expected = given.file[name].masked_select(inner);
      const at::Tensor found = weight_of_velocity(*find_objective(objective).make(path, {.time_law = "uniform"}), t);
      EXPECT_LE(((found - expected) / expected).abs().max().item<double>(), 1e-6) << objective << " along " << ours;
    };
    expect("score", "weight_v.sm_" + theirs);
    expect("noise", "weight_v.sm_" + theirs);
    expect("scoreflow", "weight_v.sf_" + theirs);
  }
}

/// score_sde's toy network 0.3 x + 0.001 label + 0.1, whose label is 999 t along vp and σ along ve; an output that
/// means a noise is made the score that it stands for.
class ToyScore : public Field {
public:
  ToyScore(std::shared_ptr<const Path> path, bool gives_noise) : path_(std::move(path)), gives_noise_(gives_noise) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& t, const Condition&) override {
    const at::Tensor scale = path_->state_scale(t);
    const at::Tensor x_t = scale.defined() ? x * per_row(scale, x) : x, sigma = path_->sigma(t);
    const at::Tensor output = 0.3 * x_t + 0.001 * per_row(scale.defined() ? sigma : 999 * t, x) + 0.1;
    return gives_noise_ ? -output / per_row(sigma, x) : output;
  }
  std::int64_t no_label() const override { return 0; }
  double forward_flops() const override { return 0; }
  std::int64_t activation_values() const override { return 0; }
  std::map<std::string, std::string> sizes() const override { return {}; }

private:
  std::shared_ptr<const Path> path_;
  bool gives_noise_;
};

TEST(PathReference, LossesOfScores) {
  const Paths given;
  for (const std::string name : {"vp", "ve"}) {
    const auto path = given.path(name);
    ToyScore field(path, name == "vp");
    const auto expect = [&](const char* objective, const std::string& loss) {
      const at::Tensor found = find_objective(objective)
                                   .make(path, {.time_law = "uniform"})
                                   ->loss(field, given.file["loss.x"], given.file["loss.z"], given.file["loss.t"], {});
      const auto expected = given.file[loss].item<double>();
      EXPECT_NEAR(found.item<double>() / expected, 1, 1e-5) << loss;
    };
    expect("score", "loss.sm_" + name);
    expect("scoreflow", "loss.sf_" + name);
  }
}

TEST(PathReference, TimesByImportance) {
  const ReferenceFile file("scoreflow_time");
  const auto numbers = [&](const char* name) { return nlohmann::json::parse(file.metadata.at(name)); };
  const auto beta = numbers("beta").get<std::vector<double>>();
  const auto eps = numbers("eps").get<double>();
  const auto path = find_path("vp").make({.vp_beta_min = beta[0], .vp_beta_max = beta[1]});
  ASSERT_EQ(path->first_time(), eps);
  const double from = path->log_ratio(eps), to = path->log_ratio(1);
  // ∫ g²/σ² dt = 2 ln(σ/α)
  EXPECT_NEAR(2 * (to - from), file["Z"].item<double>(), 5e-4 * file["Z"].item<double>());
  for (std::int64_t i = 0; i < file["grid"].size(0); ++i)
    EXPECT_NEAR(2 * (path->log_ratio(file["grid"][i].item<double>()) - from), file["cum"][i].item<double>(),
                5e-4 * file["cum"][i].item<double>());
  for (std::int64_t i = 0; i < file["q"].size(0); ++i) {
    const auto expected = file["t"][i].item<double>(), quantile = file["q"][i].item<double>();
    EXPECT_NEAR(path->time_of_log_ratio(from + quantile * (to - from)), expected, 5e-4 * expected) << quantile;
  }
  // Those that are drawn.
  const auto objective = find_objective("scoreflow").make(path, {.time_law = "importance"});
  for (std::uint64_t i = 0; i < 100; ++i) {
    Draws time(3, Purpose::time, i), draws(3, Purpose::time, i);
    const double expected = path->time_of_log_ratio(from + (to - from) * draws.uniform());
    EXPECT_NEAR(objective->draw_time(time), expected, 1e-12);
  }
}

}  // namespace
}  // namespace couplet::testing
