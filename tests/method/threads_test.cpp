// What models compute for evaluations and tables is the same for any number of threads, bit for bit.
#include "method/features/open_network.h"
#include "method/gaussianisation/gaussian_map.h"
#include "method/metrics/density_ratio.h"
#include "method/models/classifier.h"
#include "method/models/patches.h"
#include "method/models/tarflow.h"
#include "method/sampling/guided_field.h"
#include "method/solvers/likelihood.h"
#include "pipeline/tensor/row_chunks.h"
#include "pipeline/training/thread_parts.h"
#include "tests/method/velocity_student.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/nn/functional/loss.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace couplet {
namespace {

constexpr std::int64_t rows = 53;  // not whole chunks

void perturb(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  for (auto& parameter : model.parameters()) parameter.add_(torch::randn_like(parameter), 0.05);
  model.eval();
}

/// The same bits for 1, 2, 3 and 5 threads, and no trivial ones.
void expect_equal(const std::function<at::Tensor()>& compute) {
  const int before = at::get_num_threads();
  at::Tensor first;
  for (const int threads : {1, 2, 3, 5}) {
    at::set_num_threads(threads);
    const at::Tensor made = compute();
    EXPECT_EQ(at::get_num_threads(), threads) << "afterwards";
    if (!first.defined()) first = made;
    EXPECT_TRUE(made.equal(first)) << threads << " threads: up to " << (made - first).abs().max().item<double>();
  }
  at::set_num_threads(before);
  EXPECT_TRUE(first.isfinite().all().item<bool>());
  EXPECT_GT((first[0] - first[rows - 1]).abs().max().item<double>(), 0);
}

class Threads : public ::testing::Test {
protected:
  void SetUp() override {
    torch::manual_seed(1);
    x = torch::randn({rows, 1, 28, 28});
    y = torch::arange(rows).remainder(10);
  }
  at::Tensor x, y;
};

TEST_F(Threads, TeachersSamples) {
  TarFlow teacher = make_tarflow({.image_size = 28, .channels = 64, .blocks = 2, .num_classes = 10}, 1);
  perturb(*teacher);
  expect_equal([&] { return teacher->reverse(patchify(x, teacher->options().patch), y, {.guidance = 1.5}); });
  expect_equal([&] { return denoise(teacher, x, y, 0.3); });
}

TEST_F(Threads, StudentsVelocity) {
  const StudentModel student = testing::velocity_student(find_field("sit").make({.channels = 64, .depth = 2}, 1));
  perturb(*student.field);
  const torch::NoGradGuard no_grad;
  for (const char* precision : {"float32", "bfloat16"})
    expect_equal([&] {
      return StudentFlow(student, {.scale = 2}, precision).velocity({y, {}})(x, 0.4).to(torch::kFloat32);
    });
}

TEST_F(Threads, StudentsLikelihood) {
  const StudentModel student = testing::velocity_student(find_field("sit").make({.channels = 32, .depth = 1}, 1));
  perturb(*student.field);
  const StudentFlow flow(student, {}, "float32");
  const at::Tensor probes = torch::randn({1, rows, 1, 28, 28}).sign();
  expect_equal([&] {
    return by_row_chunks(rows, at::kCPU, [&](std::int64_t first, std::int64_t n) {
      const VelocityField field = flow.velocity({y.narrow(0, first, n), {}});
      return flow_likelihood(field, x.narrow(0, first, n), {1e-2, 1e-2}, probes.narrow(1, first, n)).nats;
    });
  });
}

TEST_F(Threads, Features) {
  const auto network = make_feature_network(make_classifier({}, 1), "classifier", at::kCPU);
  const at::Tensor images = (torch::rand({rows, 1, 28, 28}) * 255).to(torch::kUInt8);
  expect_equal([&] { return network->describe(images).features; });
}

/// The gradients of a loss, one flat tensor a bucket, where rows are divided into so many parts.
std::vector<at::Tensor> gradients(torch::nn::Module& model, const TrainingTask& task, const Batch& batch,
                                  std::int64_t parts) {
  FlatParameters parameters(model, {});
  parameters.zero_gradients();
  at::Tensor loss = forward_backward(task, batch, 0.5, parts, parameters, at::kCPU);
  std::vector<at::Tensor> all{loss.to(at::kFloat).view({1})};
  for (const Bucket& bucket : parameters.buckets()) all.push_back(bucket.gradients.clone());
  return all;
}

/// Parts of the rows, each on a thread, have the gradients of all rows, and the same bits on any number of threads.
void expect_same_gradients(torch::nn::Module& model, TrainingTask task, Batch batch) {
  for (at::Tensor& tensor : batch) tensor = tensor.narrow(0, 0, 9);  // not as many in each part
  perturb(model);
  model.train();
  for (const auto& [precision, tolerance] : {std::pair{"float32", 2e-5}, {"bfloat16", 3e-2}}) {
    task.training.precision = precision;
    const int before = at::get_num_threads();
    at::set_num_threads(1);
    const auto whole = gradients(model, task, batch, 1), first = gradients(model, task, batch, 4);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      EXPECT_LE((first[i] - whole[i]).abs().max().item<double>(), tolerance * whole[i].abs().max().item<double>())
          << precision << ", tensor " << i;
      EXPECT_GT(whole[i].abs().max().item<double>(), 0);
    }
    for (const int threads : {2, 3, 5}) {
      at::set_num_threads(threads);
      const auto others = gradients(model, task, batch, 4);
      for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(others[i].equal(first[i])) << precision;
    }
    at::set_num_threads(before);
  }
}

TEST_F(Threads, GradientsOfStudents) {
  const at::Tensor z = torch::randn_like(x), t = torch::rand({rows});
  for (const char* network : {"sit", "unet"})
    for (const bool recompute : {false, true}) {
      const StudentModel student = testing::velocity_student(find_field(network).make(
          {.channels = 32, .depth = 2, .blocks = 1, .dropout = 0.2, .recompute = recompute}, 1));
      TrainingTask task;
      task.loss = [&](const Batch& batch) {
        return student.objective->loss(*student.field, batch[0], batch[1], batch[2], {batch[3], {}, batch[4]});
      };
      expect_same_gradients(*student.field, task, {x, z, t, y, torch::arange(rows)});
    }
}

TEST_F(Threads, GradientsOfTeachersAndClassifiers) {
  TarFlow teacher = make_tarflow({.image_size = 28, .channels = 64, .blocks = 2, .num_classes = 10, .dropout = 0.2}, 1);
  Classifier classifier = make_classifier({}, 1);
  TrainingTask task;
  task.loss = [&](const Batch& batch) { return teacher->loss(teacher->forward(batch[0], batch[1])); };
  expect_same_gradients(*teacher, task, {x, y});
  task.loss = [&](const Batch& batch) { return teacher->loss(teacher->forward(batch[0], batch[1], batch[2])); };
  expect_same_gradients(*teacher, task, {x, y, torch::arange(rows)});
  task.loss = [&](const Batch& batch) {
    return torch::nn::functional::cross_entropy(classifier->forward(batch[0]), batch[1]);
  };
  expect_same_gradients(*classifier, task, {x, y});
}

/// What a map learns of rows with tails, as one tensor a number of threads.
std::vector<at::Tensor> fits_of_threads(const char* map, const GaussianMapOptions& options, std::int64_t count) {
  std::vector<std::int64_t> sizes = options.shape;
  sizes.insert(sizes.begin(), count);
  // Values have tails, and a part in common.
  const at::Tensor common = torch::randn({count, 1, 1, 1}, torch::kFloat64);
  const at::Tensor z = (torch::randn(sizes, torch::kFloat64) + common).sinh(),
                   label = torch::arange(count).remainder(2);
  const auto alone = make_single_communicator();
  const TrainingNoise noise{count,
                            [&](std::int64_t first, std::int64_t n) {
                              return LabelledNoise{z.narrow(0, first, n), label.narrow(0, first, n)};
                            },
                            *alone};
  std::vector<at::Tensor> fits;
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    std::vector<at::Tensor> parts;
    for (const auto& [name, tensor] : find_gaussian_map(map).fit(noise, options)) parts.push_back(tensor.flatten());
    fits.push_back(torch::cat(parts));
  }
  at::set_num_threads(before);
  return fits;
}

TEST_F(Threads, MapsOfNoise) {
  GaussianMapOptions covariance, rotations;
  covariance.shape = {1, 28, 28};
  covariance.affine_covariance = true;
  rotations.shape = {3, 32, 32};
  rotations.rotation_layers = 2;
  covariance.classes = rotations.classes = 2;
  for (const auto& [map, options, count] : {std::tuple{"affine", covariance, 300}, {"rotations", rotations, 600}}) {
    const std::vector<at::Tensor> fits = fits_of_threads(map, options, count);
    EXPECT_GT(fits[0].numel(), 30000) << map << ": there are too few values for LibTorch to share them among threads";
    for (const at::Tensor& fit : fits) EXPECT_TRUE(fit.equal(fits[0])) << map;
  }
}

TEST_F(Threads, FiguresOfTwoSamples) {
  const at::Tensor q = torch::randn({100000}, torch::kFloat64) + 0.3, p = torch::randn({100000}, torch::kFloat64);
  std::vector<std::vector<double>> all;
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const AreaUnderCurve area = area_under_curve(q, p);
    const DivergenceBound bound = divergence_bound(q, p);
    all.push_back({area.value, area.standard_error, bound.value, bound.standard_error});
  }
  at::set_num_threads(before);
  EXPECT_EQ(all[1], all[0]);
  EXPECT_EQ(all[2], all[0]);
}

TEST_F(Threads, PartsAreOneAThreadWhereTheirGradientsFit) {
  at::set_num_threads(3);
  torch::nn::Linear small(10, 10), large(8192, 8192);  // of 256 MiB
  TrainingTask task;
  EXPECT_EQ(thread_parts(task, *small, 8, at::kCPU), 3);
  EXPECT_EQ(thread_parts(task, *small, 2, at::kCPU), 2) << "rows";
  EXPECT_EQ(thread_parts(task, *large, 8, at::kCPU), 1) << "memory";
  EXPECT_EQ(thread_parts(task, *small, 8, at::kCUDA), 1);
  task.batch_mean.emplace();
  EXPECT_EQ(thread_parts(task, *small, 8, at::kCPU), 1) << "there is one mean at a time";
}

TEST_F(Threads, EachCallIsOnOneThreadWithTheCallersModes) {
  at::set_num_threads(3);
  const torch::NoGradGuard no_grad;
  std::atomic<int> wrong = 0, calls[40] = {};
  std::mutex mutex;
  std::set<std::thread::id> threads;
  each_on_one_thread(40, at::kCPU, [&](std::int64_t i) {
    ++calls[i];
    if (at::get_num_threads() != 1 || at::GradMode::is_enabled()) ++wrong;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const std::scoped_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  for (const auto& count : calls) EXPECT_EQ(count, 1);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(threads.size(), 3u) << "several at once";
  EXPECT_EQ(at::get_num_threads(), 3);
}

TEST_F(Threads, AnErrorIsThrownOn) {
  at::set_num_threads(2);
  EXPECT_THROW(each_on_one_thread(10, at::kCPU,
                                  [](std::int64_t i) {
                                    if (i == 7) throw std::runtime_error("seven");
                                  }),
               std::runtime_error);
  EXPECT_EQ(at::get_num_threads(), 2);
}

TEST_F(Threads, NoRowsAreRows) {
  EXPECT_EQ(by_row_chunks(0, at::kCPU, [](auto, auto n) { return torch::zeros({n, 2}); }).size(0), 0);
}

}  // namespace
}  // namespace couplet
