// Rows in chunks, each on one thread (pipeline/tensor/row_chunks.h), against the same rows as one batch on all threads:
// what evaluations and tables are computed by. student_velocity: a student's field; inversion: a teacher's forward
// pass; classifier: the built-in features. Sizes of configs/fashion.ini, 250 rows, float32, random weights.
#include "pipeline/tensor/row_chunks.h"
#include "bench/comparison.h"
#include "method/data/images.h"
#include "method/features/open_network.h"
#include "method/models/tarflow.h"
#include "method/sampling/guided_field.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <functional>
#include <memory>

namespace couplet {
namespace {

constexpr std::int64_t rows = 250;

/// Each side for at least a round's seconds, in turn.
void compare(const std::string& name, const std::function<void()>& chunks, const std::function<void()>& batch) {
  const double once = std::max(seconds_of(batch), 1e-4);
  const int calls = std::max(1, static_cast<int>(bench_seconds() / once));
  const auto repeated = [calls](const std::function<void()>& work) {
    return [&work, calls] {
      for (int call = 0; call < calls; ++call) work();
    };
  };
  compare_rates(name, "rows/s", static_cast<double>(rows) * calls, bench_rounds(), repeated(chunks), repeated(batch));
}

void run() {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({rows, 1, 28, 28}), labels = at::arange(rows).remainder(10);

  const std::shared_ptr<Field> velocity_network = find_field("sit").make({.heads = 3}, 0);
  const StudentModel student{velocity_network, find_objective("velocity").make(find_path("linear").make({}), {})};
  const VelocityField field = StudentFlow(student, {}, "float32").velocity({labels, {}});
  const at::Tensor times = at::full({rows}, 0.5);
  compare(
      "student_velocity", [&] { field(x, 0.5); },
      [&] {
        velocity_network->forward(x, times, {labels, {}});
      });

  TarFlow teacher = make_tarflow({.image_size = 28, .num_classes = 10}, 0);
  compare(
      "inversion",
      [&] {
        by_row_chunks(rows, at::kCPU, [&](std::int64_t first, std::int64_t count) {
          return teacher->forward(x.narrow(0, first, count), labels.narrow(0, first, count)).z;
        });
      },
      [&] { teacher->forward(x, labels); });

  Classifier classifier = make_classifier({}, 0);
  classifier->eval();
  const auto network = make_feature_network(classifier, "classifier", at::kCPU);
  const at::Tensor images = (at::rand({rows, 1, 28, 28}) * 255).to(at::kByte);
  compare(
      "classifier", [&] { network->describe(images); },
      [&] { classifier->logits(classifier->features(to_float(images))); });
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
