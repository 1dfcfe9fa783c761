// Statistics of a network's features over a set of images: files of ours and of others.
#include "method/scoring/reference_statistics.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/npz.h"
#include "tests/method/scoring/npz_arrays.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

namespace couplet {
namespace {

class NamedNetwork : public FeatureNetwork {
public:
  explicit NamedNetwork(std::string hash) : hash_(std::move(hash)) {}
  ImageFeatures describe(const at::Tensor&) override { return {}; }
  const std::string& name() const override { return name_; }
  const std::string& hash() const override { return hash_; }
  const std::string& resize() const override { return resize_; }

private:
  std::string name_ = "network.pt", hash_, resize_ = "none";
};

ReferenceStatistics statistics_of(std::int64_t rows) {
  at::manual_seed(3);
  ReferenceStatistics made{.moments = Moments(5),
                           .network = "network.pt",
                           .network_hash = "abc",
                           .resize = "none",
                           .dataset = "def",
                           .split = "train",
                           .channels = 3,
                           .size = 32};
  made.moments.add(at::randn({rows, 5}) * 2 + 1);
  made.spatial.emplace(3);
  made.spatial->add(at::randn({rows, 3}));
  return made;
}

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

double gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

class ReferenceFiles : public ::testing::Test {
protected:
  fs::path folder = fs::temp_directory_path() / ("reference_" + std::to_string(::getpid()));
  void SetUp() override { fs::create_directories(folder); }
  void TearDown() override { fs::remove_all(folder); }
};

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(ReferenceFiles, BothFormsComeBack) {
  const ReferenceStatistics made = statistics_of(40);
  for (const char* name : {"a.safetensors", "a.npz"}) {
    save_reference(folder / name, made);
    const ReferenceStatistics read = load_reference(folder / name);
    EXPECT_TRUE(read.count_known) << name;
    EXPECT_EQ(read.moments.count, 40) << name;
    EXPECT_LT(gap(read.moments.mean(), made.moments.mean()), 1e-12) << name;
    EXPECT_LT(gap(read.moments.covariance(), made.moments.covariance()), 1e-12) << name;
    ASSERT_TRUE(read.spatial.has_value()) << name;
    EXPECT_LT(gap(read.spatial->covariance(), made.spatial->covariance()), 1e-12) << name;
    EXPECT_EQ(read.network_hash, "abc") << name;
    EXPECT_EQ(read.resize, "none") << name;
    EXPECT_EQ(read.split, "train") << name;
    EXPECT_EQ(read.size, 32) << name;
  }
}

TEST_F(ReferenceFiles, OthersNpzGivesItsMeanAndCovariance) {
  // As pytorch-fid writes them: mu and sigma, no count; ADM's also hold the images.
  const at::Tensor mu = at::arange(4, at::kDouble), root = at::randn({4, 4}, at::kDouble);
  const at::Tensor sigma = root.mm(root.t()).contiguous();
  write_npz(folder / "fid.npz",
            {array_of("mu", mu), array_of("sigma", sigma), array_of("arr_0", at::zeros({2, 8, 8, 3}, at::kByte))});
  const ReferenceStatistics read = load_reference(folder / "fid.npz");
  EXPECT_LT(gap(read.moments.mean(), mu), 1e-10);
  EXPECT_LT(gap(read.moments.covariance(), sigma), 1e-9);
  EXPECT_FALSE(read.count_known);
  EXPECT_FALSE(read.spatial.has_value());
  // To statistics with the mean moved by 1 in each of 4 features: a distance of 4.
  write_npz(folder / "moved.npz", {array_of("mu", mu + 1), array_of("sigma", sigma)});
  EXPECT_NEAR(frechet_distance(read.moments, load_reference(folder / "moved.npz").moments), 4, 1e-6);
  const auto doubts = check_reference("fid.npz", read, NamedNetwork("abc"), 4, 3, 32);
  ASSERT_EQ(doubts.size(), 2U);
  EXPECT_SAYS(doubts[0], "does not say which network");
  EXPECT_SAYS(doubts[1], "of how many images");
}

TEST_F(ReferenceFiles, MismatchesAreNamed) {
  const ReferenceStatistics made = statistics_of(40);
  const auto refusal = [&](const std::string& hash, std::int64_t dimension) {
    return message_of([&] { check_reference("ref.npz", made, NamedNetwork(hash), dimension, 3, 32); });
  };
  EXPECT_EQ(refusal("abc", 5), "accepted");
  EXPECT_SAYS(refusal("abc", 6), "ref.npz: statistics of 5 features (network.pt), compared with 6 features");
  EXPECT_SAYS(refusal("xyz", 5), "(abc), compared with features of network.pt (xyz)");
  EXPECT_TRUE(check_reference("ref.npz", made, NamedNetwork("abc"), 5, 3, 32).empty());
  const auto doubts = check_reference("ref.npz", made, NamedNetwork("abc"), 5, 1, 28);
  ASSERT_EQ(doubts.size(), 1U);
  EXPECT_SAYS(doubts[0], "3x32x32, compared with images of 1x28x28");
  ReferenceStatistics of_edm = made;
  of_edm.crop = "edm";
  EXPECT_TRUE(check_reference("ref.npz", of_edm, NamedNetwork("abc"), 5, 3, 32, "edm").empty());
  EXPECT_TRUE(check_reference("ref.npz", of_edm, NamedNetwork("abc"), 5, 3, 32).empty()) << "not known";
  EXPECT_TRUE(check_reference("ref.npz", made, NamedNetwork("abc"), 5, 3, 32, "adm").empty()) << "not known";
  EXPECT_SAYS(message_of([&] { check_reference("ref.npz", of_edm, NamedNetwork("abc"), 5, 3, 32, "adm"); }),
              "ref.npz: statistics of images of the crop edm, compared with images of the crop adm");
}

TEST_F(ReferenceFiles, FilesThatHoldNoneAreRefused) {
  const fs::path path = folder / "none.npz";
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "no such file");
  write_npz(path, {array_of("arr_0", at::zeros({2, 3}))});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "there are arr_0");
  write_npz(path, {array_of("mu", at::zeros({3})), array_of("sigma", at::zeros({2, 2}))});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "mu [3] and sigma [2, 2]");
  write_npz(path, {array_of("mu", at::full({2}, NAN)), array_of("sigma", at::zeros({2, 2}))});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "not finite");
  write_npz(path, {array_of("mu", at::zeros({0})), array_of("sigma", at::zeros({0, 0}))});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "mu [0] and sigma [0, 0]");
}

/// What is said of statistics with this mean and covariance in either form of file; each names its file.
class WrongStatistics : public ReferenceFiles {
protected:
  void expect_said(const at::Tensor& mean, const at::Tensor& covariance, const std::string& part) const {
    const fs::path npz = folder / "wrong.npz", safetensors = folder / "wrong.safetensors";
    write_npz(npz, {array_of("mu", mean), array_of("sigma", covariance)});
    write_tensors(safetensors, {{"count", at::full({1}, 101, at::kLong)},
                                {"sum", mean * 101},
                                {"outer", covariance * 100 + at::outer(mean, mean) * 101}});
    for (const fs::path& path : {npz, safetensors}) {
      const std::string message = message_of([&] { load_reference(path); });
      EXPECT_SAYS(message, part);
      EXPECT_TRUE(part == "accepted" || message.starts_with(path.string())) << message;
      EXPECT_EQ(message.find("Exception raised"), std::string::npos) << message;
    }
  }
  at::Tensor zero = at::zeros({4}, at::kDouble), unit = at::eye(4, at::kDouble);
};

TEST_F(WrongStatistics, ACovarianceThatIsNotSymmetricIsRefused) {
  at::Tensor skew = unit.clone();
  skew[0][1] = 0.5;
  expect_said(zero, skew, "is not symmetric");
  skew[0][1] = 1e-7;
  expect_said(zero, skew, "accepted");
}

TEST_F(WrongStatistics, ACovarianceWithANegativeEigenvalueIsRefused) {
  at::Tensor negative = unit.clone();
  negative[2][2] = -0.25;
  expect_said(zero, negative, "has the eigenvalue -0.25");
  expect_said(zero, -unit, "has the eigenvalue -1");
  // Each variance is fine by itself.
  at::Tensor too_alike = unit.clone();
  too_alike[0][1] = too_alike[1][0] = 1.5;
  expect_said(zero, too_alike, "has the eigenvalue -0.5");
  negative[2][2] = -1e-7;
  expect_said(zero, negative, "accepted");
}

TEST_F(WrongStatistics, SingularOnesAndFeaturesThatNeverVaryAreAccepted) {
  expect_said(zero, at::ones({4, 4}, at::kDouble), "accepted");
  expect_said(zero + 1e4, at::zeros({4, 4}, at::kDouble), "accepted");
  // Fewer images than features, far from 0, in single precision.
  at::manual_seed(6);
  const at::Tensor few = at::randn({20, 64}) + 50;
  Moments moments(64);
  moments.add(few);
  expect_said(moments.mean(), moments.covariance().to(at::kFloat).to(at::kDouble), "accepted");
}

TEST_F(WrongStatistics, HugeValuesAndNaNAreToldInOurWords) {
  expect_said(zero, unit * 1e300, "holds values up to 1e+300");
  expect_said(zero + 1e120, unit, "holds values up to 1e+120");
  expect_said(zero + NAN, unit, "not finite");
  at::Tensor infinite = unit.clone();
  infinite[3][3] = INFINITY;
  expect_said(zero, infinite, "not finite");
}

TEST_F(WrongStatistics, AProvenanceThatIsNoneNamesTheFile) {
  const auto said_of = [&](const std::string& text) {
    at::Tensor bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
    std::ranges::copy(text, bytes.mutable_data_ptr<std::uint8_t>());
    const fs::path path = folder / "provenance.npz";
    write_npz(path, {array_of("mu", zero), array_of("sigma", unit), array_of("provenance", bytes)});
    return message_of([&] { load_reference(path); });
  };
  EXPECT_EQ(said_of(R"({"network": "n.pt"})"), "accepted");
  for (const std::string& text : {std::string("{"), std::string("[1]"), std::string(R"({"network": 1})"),
                                  std::string(R"({"size": "many"})"), std::string(100000, '[')}) {
    EXPECT_SAYS(said_of(text), "provenance.npz");
    EXPECT_EQ(said_of(text).find("json.exception"), std::string::npos) << said_of(text);
  }
}

TEST_F(WrongStatistics, SpatialOnesAreLookedAtToo) {
  const fs::path path = folder / "spatial.npz";
  write_npz(path, {array_of("mu", zero), array_of("sigma", unit), array_of("mu_s", zero), array_of("sigma_s", -unit)});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "the covariance (sigma_s) has the eigenvalue -1");
}

TEST_F(WrongStatistics, ACountThatIsNoneIsRefused) {
  const auto said_of = [&](const at::Tensor& n) {
    write_npz(folder / "n.npz", {array_of("mu", zero), array_of("sigma", unit), array_of("n", n)});
    return message_of([&] { load_reference(folder / "n.npz"); });
  };
  EXPECT_EQ(said_of(at::full({1}, 5, at::kLong)), "accepted");
  EXPECT_EQ(said_of(at::full({1}, 5, at::kDouble)), "accepted");
  EXPECT_SAYS(said_of(at::full({1}, 1, at::kLong)), "two images at least");
  EXPECT_SAYS(said_of(at::full({1}, NAN, at::kDouble)), "one whole number");
  EXPECT_SAYS(said_of(at::full({1}, 1e300, at::kDouble)), "one whole number");
  EXPECT_SAYS(said_of(at::full({3}, 5, at::kLong)), "3 values");
  write_tensors(folder / "n.safetensors", {{"count", at::zeros({1}, at::kLong)}, {"sum", zero}, {"outer", unit}});
  EXPECT_SAYS(message_of([&] { load_reference(folder / "n.safetensors"); }), "n.safetensors: n = 0");
}

}  // namespace
}  // namespace couplet
