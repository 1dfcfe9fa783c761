#include "method/couplings/shared_problems.h"

#include "storage/error.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr std::size_t solved_ahead = 3;           ///< problems of a rank
constexpr std::int64_t answered = 0, failed = 1;  ///< the first number of a message
constexpr std::int64_t header = 2;                ///< then the digest, then the answer

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

SharedProblems::~SharedProblems() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

std::vector<std::int64_t> SharedProblems::solve_when_ready(std::int64_t problem) {
  if (rules_.after) {
    const std::int64_t after = rules_.after(problem);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || settled_ > after; });
    if (stopping_) fail("problem {} is not needed any more", problem);
  }
  std::vector<std::int64_t> answer = rules_.solve(problem);
  if (std::ssize(answer) != rules_.answer_size)
    fail("the answer to problem {} has {} numbers; expected {}", problem, answer.size(), rules_.answer_size);
  return answer;
}

std::vector<std::int64_t> SharedProblems::next(std::uint64_t digest) {
  const auto owner = static_cast<int>(next_ % communicator_.size());
  at::Tensor message = at::empty({header + rules_.answer_size}, at::kLong);
  const std::span<std::int64_t> numbers(message.data_ptr<std::int64_t>(), static_cast<std::size_t>(message.numel()));
  std::exception_ptr error;
  if (owner == communicator_.rank()) {
    numbers[0] = answered;
    numbers[1] = static_cast<std::int64_t>(digest);
    try {
      std::ranges::copy(own_.next(), numbers.begin() + header);
    } catch (...) {
      error = std::current_exception();
      std::ranges::fill(numbers, failed);
    }
  }
  communicator_.broadcast(message, owner);
  if (error) std::rethrow_exception(error);
  if (numbers[0] != answered) fail("rank {} could not solve problem {}, as it says itself", owner, next_);
  if (static_cast<std::uint64_t>(numbers[1]) != digest)
    fail("before problem {} is answered, what ranks {} and {} have learnt differs: digests {:016x} and {:016x}", next_,
         owner, communicator_.rank(), static_cast<std::uint64_t>(numbers[1]), digest);
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
