#include "method/couplings/shared_problems.h"

#include "pipeline/liveness/activity.h"
#include "storage/error.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <span>
#include <string>
#include <utility>

namespace couplet {
namespace {

constexpr std::size_t solved_ahead = 3;  // problems of a rank, or being solved, and not answered yet
constexpr std::int64_t header = 2;       // of a message: the exit status of an error, and the digest; then the answer

/// The first problem from `first` on that a rank owns.
std::int64_t first_of_rank(std::int64_t first, const Communicator& communicator) {
  const std::int64_t ranks = communicator.size();
  return first + ((communicator.rank() - first) % ranks + ranks) % ranks;
}

}  // namespace

SharedProblems::SharedProblems(Communicator& communicator, std::int64_t first, Rules rules)
    : communicator_(communicator),
      rules_(std::move(rules)),
      next_(first),
      settled_(first),
      own_(
          0, std::numeric_limits<std::int64_t>::max(),
          [this, own = first_of_rank(first, communicator), ranks = communicator.size()](std::int64_t i) {
            return solve_when_ready(own + i * ranks);
          },
          solved_ahead) {}

std::vector<std::int64_t> SharedProblems::solve_when_ready(std::int64_t problem) {
  if (rules_.after) {
    const std::int64_t after = rules_.after(problem);
    std::unique_lock lock(mutex_);
    if (!changed_.wait(lock, stop_.get_token(), [&] { return settled_ > after; })) fail("is not needed any more");
  }
  std::vector<std::int64_t> answer = rules_.solve(problem, stop_.get_token());
  if (std::ssize(answer) != rules_.answer_size)
    fail("the answer has {} numbers; expected {}", answer.size(), rules_.answer_size);
  return answer;
}

std::vector<std::int64_t> SharedProblems::next(std::uint64_t digest) {
  const auto owner = static_cast<int>(next_ % communicator_.size());
  at::Tensor message = at::zeros({header + rules_.answer_size}, at::kLong);
  const std::span<std::int64_t> numbers(message.data_ptr<std::int64_t>(), static_cast<std::size_t>(message.numel()));
  std::string error;
  if (owner == communicator_.rank()) {
    const WorkingAlone alone("solving a problem of the coupling");
    numbers[1] = static_cast<std::int64_t>(digest);
    try {
      std::ranges::copy(own_.next(), numbers.begin() + header);
    } catch (const std::exception& failure) {
      const auto* ours = dynamic_cast<const Error*>(&failure);
      numbers[0] = ours != nullptr ? ours->status() : exit_failed;
      error = failure.what();
    }
  }
  communicator_.broadcast(message, owner);
  if (numbers[0] != exit_ok)
    throw Error(rules_.name(next_) + ": " + communicator_.broadcast_text(error, owner),
                static_cast<ExitStatus>(numbers[0]));
  if (static_cast<std::uint64_t>(numbers[1]) != digest)
    fail("{}: what ranks {} and {} have learnt before differs: digests {:016x} and {:016x}", rules_.name(next_), owner,
         communicator_.rank(), static_cast<std::uint64_t>(numbers[1]), digest);
  ++next_;
  return {numbers.begin() + header, numbers.end()};
}

void SharedProblems::settle() {
  {
    const std::scoped_lock lock(mutex_);
    settled_ = next_;
  }
  changed_.notify_all();
}

}  // namespace couplet
