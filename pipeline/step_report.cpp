#include "pipeline/step_report.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>

namespace couplet {
namespace {

enum Field : std::int64_t { loss_bits, digest, stop, failed, fields };

}  // namespace

void StepReport::run(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    error = std::current_exception();
  }
}

AgreedStep agree(const StepReport& mine, const std::string& task, std::int64_t step, Communicator& communicator) {
  at::Tensor packed = at::empty({fields}, at::TensorOptions().dtype(at::kLong));
  auto* own = packed.mutable_data_ptr<std::int64_t>();
  own[loss_bits] = std::bit_cast<std::int64_t>(mine.loss);
  own[digest] = static_cast<std::int64_t>(mine.digest);
  own[stop] = mine.stop;
  own[failed] = mine.error != nullptr;
  // Gathered rather than summed: bit patterns travel, the sum has one order, and who reports what is known.
  const at::Tensor all = communicator.all_gather(packed);

  if (mine.error) std::rethrow_exception(mine.error);
  // Every rank must leave here the same way, or those that go on would wait for the others in the next collective.
  const auto report = [&](int rank) { return all.const_data_ptr<std::int64_t>() + rank * fields; };
  for (int rank = 0; rank < communicator.size(); ++rank) {
    if (report(rank)[failed] != 0) fail("{}: rank {} failed in step {} (its own message says why)", task, rank, step);
  }
  AgreedStep agreed;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const auto loss = std::bit_cast<double>(report(rank)[loss_bits]);
    if (!std::isfinite(loss) && agreed.nonfinite_rank < 0) {
      agreed.nonfinite_rank = rank;
      agreed.loss = loss;
    }
    if (agreed.nonfinite_rank < 0) agreed.loss += loss / communicator.size();
    agreed.digest += static_cast<std::uint64_t>(report(rank)[digest]);
    agreed.stop = agreed.stop || report(rank)[stop] != 0;
  }
  return agreed;
}

}  // namespace couplet
