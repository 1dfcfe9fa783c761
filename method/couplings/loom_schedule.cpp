#include "method/couplings/loom_schedule.h"

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t first_warm_up_epoch = std::int64_t{1} << 31;

std::int64_t rounded_up(std::int64_t dividend, std::int64_t divisor) {
  return dividend / divisor + (dividend % divisor != 0);
}

}  // namespace

std::int64_t LoomSchedule::generation_of(std::int64_t step) const {
  return resample_every == 0 ? 0 : step * batch / rows / resample_every;
}

std::int64_t LoomSchedule::first_step(std::int64_t generation) const {
  return rounded_up(generation * resample_every * rows, batch);
}

std::int64_t LoomSchedule::first_exchange(std::int64_t generation) const {
  return first_step(generation) + generation * warm_up();
}

LoomExchange LoomSchedule::exchange(std::int64_t number) const {
  std::int64_t generation = 0;
  while (resample_every > 0 && first_exchange(generation + 1) <= number) ++generation;
  // Warm-up and training of a generation each visit rows at consecutive positions.
  std::int64_t begin = first_exchange(generation),
               position = (first_warm_up_epoch + generation * warm_up_epochs) * rows;
  if (number >= begin + warm_up()) {
    begin += warm_up();
    position = first_step(generation) * batch;
  }
  const std::int64_t first = position + (number - begin) * batch;
  const std::int64_t epoch = first / rows;
  if ((first + batch - 1) / rows != epoch) return {generation, first, number - 1};
  // No row comes twice in an epoch: only batches that begin in an earlier one can have touched these rows.
  const std::int64_t first_of_epoch = begin + rounded_up(std::max<std::int64_t>(epoch * rows - position, 0), batch);
  return {generation, first, first_of_epoch - 1};
}

}  // namespace couplet
