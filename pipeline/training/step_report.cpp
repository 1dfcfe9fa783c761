#include "pipeline/training/step_report.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>

namespace couplet {
namespace {

/// A report's numbers in order: these, then the bits of the losses, then those of the squares.
enum Field : std::int64_t { digest, stop, failed, fields };

at::Tensor packed(const StepReport& report) {
  const auto length = fields + std::ssize(report.losses) + std::ssize(report.squares);
  at::Tensor tensor = at::empty({length}, at::TensorOptions().dtype(at::kLong));
  auto* number = tensor.mutable_data_ptr<std::int64_t>();
  number[digest] = static_cast<std::int64_t>(report.digest);
  number[stop] = report.stop;
  number[failed] = report.error != nullptr;
  number += fields;
  for (const double loss : report.losses) *number++ = std::bit_cast<std::int64_t>(loss);
  for (const double square : report.squares) *number++ = std::bit_cast<std::int64_t>(square);
  return tensor;
}

}  // namespace

void StepReport::run(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
}

AgreedStep agree(const StepReport& mine, const std::string& task, std::int64_t step, Communicator& communicator) {
  // Gathered rather than summed: bit patterns travel, the sums have one order, and who reports what is known.
  const at::Tensor all = communicator.all_gather(packed(mine));

  if (mine.error) std::rethrow_exception(mine.error);
  // Every rank must leave here the same way, or those that go on would wait for the others in the next collective.
  const auto report = [&](int rank) { return all.const_data_ptr<std::int64_t>() + rank * all.size(1); };
  for (int rank = 0; rank < communicator.size(); ++rank) {
    if (report(rank)[failed] != 0) fail("{}: rank {} failed in step {} (its own message says why)", task, rank, step);
  }
  AgreedStep agreed;
  double squares = 0;
  const auto groups = static_cast<double>(mine.losses.size()) * communicator.size();
  for (int rank = 0; rank < communicator.size(); ++rank) {
    agreed.digest += static_cast<std::uint64_t>(report(rank)[digest]);
    agreed.stop = agreed.stop || report(rank)[stop] != 0;
    const std::int64_t* number = report(rank) + fields;
    for (std::size_t i = 0; i < mine.losses.size(); ++i) {
      const auto loss = std::bit_cast<double>(*number++);
      if (!std::isfinite(loss) && agreed.nonfinite_rank < 0) {
        agreed.nonfinite_rank = rank;
        agreed.loss = loss;
      }
      if (agreed.nonfinite_rank < 0) agreed.loss += loss / groups;
    }
    for (std::size_t i = 0; i < mine.squares.size(); ++i) squares += std::bit_cast<double>(*number++);
  }
  agreed.gradient_norm = std::sqrt(squares);
  return agreed;
}

}  // namespace couplet
