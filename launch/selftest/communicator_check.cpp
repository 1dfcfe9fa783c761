#include "launch/selftest/checks.h"

#include "storage/clock.h"
#include "storage/text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

namespace couplet {
namespace {

constexpr std::int64_t large_message = std::int64_t{16} << 20;  // bytes

/// Compares results, and keeps the first that is wrong.
class Comparison {
public:
  void operator()(const char* operation, const at::Tensor& found, const at::Tensor& expected) {
    const at::Tensor there = found.cpu();
    if (!wrong_.empty() || at::equal(there, expected)) return;
    const auto first = there.ne(expected).flatten().nonzero()[0].item<std::int64_t>();
    wrong_ = fmt::format("{} of {} gave {} as value {}, expected {}", operation, found.toString(),
                         there.flatten()[first].item<double>(), first, expected.flatten()[first].item<double>());
  }
  const std::string& wrong() const { return wrong_; }

private:
  std::string wrong_;
};

/// Whole numbers, whose sums no rounding changes.
void compare_collectives(Communicator& communicator, c10::Device device, Comparison& compare) {
  const std::int64_t n = communicator.size(), r = communicator.rank();
  const std::int64_t sum = n * (n + 1) / 2;
  for (const at::ScalarType type : {at::kDouble, at::kLong, at::kFloat}) {
    at::Tensor values = at::full({1000}, r + 1, at::TensorOptions(type).device(device));
    communicator.all_reduce(values);
    compare("all-reduce", values, at::full({1000}, sum, type));
  }
  const at::Tensor count = at::arange(1000, at::kLong);
  at::Tensor message = (count * (r + 1)).to(device);
  communicator.broadcast(message, static_cast<int>(n - 1));
  compare("broadcast", message, count * n);
  compare("all-gather", communicator.all_gather(at::full({3}, r, at::TensorOptions(at::kLong).device(device))),
          at::arange(n, at::kLong).unsqueeze(1).expand({n, 3}));
  // Each rank sends each other one a part of its own: part p of rank r is r n + p.
  constexpr std::int64_t part = 64;
  const at::Tensor numbers = at::arange(n, at::kDouble);
  at::Tensor parts = (numbers + static_cast<double>(r * n)).repeat_interleave(part).to(device);
  communicator.start_reduce_scatter(parts)->wait();
  const at::Tensor sums = numbers * static_cast<double>(n) + static_cast<double>(n * n * (n - 1) / 2);
  compare("all-to-all (reduce-scatter)", parts.narrow(0, r * part, part), sums[r].expand({part}));
  communicator.all_gather_parts(parts);
  compare("all-gather of parts", parts, sums.repeat_interleave(part));
  // Two at a time, waited for in the other order.
  at::Tensor first = at::ones({5000}, at::TensorOptions(at::kFloat).device(device)), second = first * 2;
  const auto one = communicator.start_all_reduce(first), other = communicator.start_all_reduce(second);
  other->wait();
  one->wait();
  compare("the first of two all-reduces at a time", first, at::full({5000}, n, at::kFloat));
  compare("the second of two all-reduces at a time", second, at::full({5000}, 2 * n, at::kFloat));
  communicator.barrier();
}

/// The seconds of the fastest of three calls, on the rank on which it takes longest.
double fastest(Communicator& communicator, const std::function<void()>& call) {
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 3; ++round) {
    communicator.barrier();
    const auto start = std::chrono::steady_clock::now();
    call();
    best = std::min(best, seconds_since(start));
  }
  return static_cast<double>(communicator.maximum(static_cast<std::int64_t>(best * 1e9))) / 1e9;
}

}  // namespace

Outcome check_collectives(Communicator& communicator, c10::Device device) {
  Comparison compare;
  compare_collectives(communicator, device, compare);
  at::Tensor large = at::zeros({large_message / 4}, at::TensorOptions(at::kFloat).device(device));
  const double large_seconds = fastest(communicator, [&] {
    large.fill_(1);
    communicator.all_reduce(large);
    large[0].item<float>();  // a GPU is done
  });
  compare("all-reduce of a large message", large, at::full_like(large, communicator.size(), at::kCPU));
  at::Tensor small = at::zeros({1}, at::TensorOptions(at::kDouble).device(device));
  const double small_seconds = fastest(communicator, [&] {
    communicator.all_reduce(small);
    small.item<double>();
  });
  if (!compare.wrong().empty()) return failed("{}", compare.wrong());
  return passed(
      "all-reduce, broadcast, all-gather, all-to-all and barrier give what they must; all-reduce of {} at "
      "{:.3g} GB/s, of one number in {} us",
      bytes_text(large_message), static_cast<double>(large_message) / large_seconds / 1e9,
      number_text(small_seconds * 1e6));
}

}  // namespace couplet
