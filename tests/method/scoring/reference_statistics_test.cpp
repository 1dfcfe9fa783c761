// Statistics of a network's features over a set of images: files of ours and of others.
#include "method/scoring/reference_statistics.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/npz.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
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

NpzArray array_of(const std::string& name, const at::Tensor& values, ElementType type) {
  return {.name = name,
          .type = type,
          .rows = values.size(0),
          .row_shape = values.sizes().slice(1).vec(),
          .rows_at_once = values.size(0),
          .read = [=](std::int64_t, std::int64_t, std::span<std::byte> out) {
            std::memcpy(out.data(), values.const_data_ptr(), out.size());
          }};
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
            {array_of("mu", mu, ElementType::float64), array_of("sigma", sigma, ElementType::float64),
             array_of("arr_0", at::zeros({2, 8, 8, 3}, at::kByte), ElementType::uint8)});
  const ReferenceStatistics read = load_reference(folder / "fid.npz");
  EXPECT_LT(gap(read.moments.mean(), mu), 1e-10);
  EXPECT_LT(gap(read.moments.covariance(), sigma), 1e-9);
  EXPECT_FALSE(read.count_known);
  EXPECT_FALSE(read.spatial.has_value());
  // To statistics with the mean moved by 1 in each of 4 features: a distance of 4.
  write_npz(folder / "moved.npz",
            {array_of("mu", mu + 1, ElementType::float64), array_of("sigma", sigma, ElementType::float64)});
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
}

TEST_F(ReferenceFiles, FilesThatHoldNoneAreRefused) {
  const fs::path path = folder / "none.npz";
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "no such file");
  write_npz(path, {array_of("arr_0", at::zeros({2, 3}), ElementType::float32)});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "there are arr_0");
  write_npz(path, {array_of("mu", at::zeros({3}), ElementType::float32),
                   array_of("sigma", at::zeros({2, 2}), ElementType::float32)});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "mu [3] and sigma [2, 2]");
  write_npz(path, {array_of("mu", at::full({2}, NAN), ElementType::float32),
                   array_of("sigma", at::zeros({2, 2}), ElementType::float32)});
  EXPECT_SAYS(message_of([&] { load_reference(path); }), "not finite");
}

}  // namespace
}  // namespace couplet
