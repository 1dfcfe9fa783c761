// When LOOM-CFM exchanges noises, and among which rows: numbers alone.
#pragma once

#include <cstdint>

namespace couplet {

/// The exchange of one batch of rows.
struct LoomExchange {
  std::int64_t generation = 0;      ///< of the noises: how often they were drawn anew before
  std::int64_t first_position = 0;  ///< of the batch, in the order of rows
  std::int64_t after = -1;          ///< the last exchange before this one that may have touched the same rows; -1: none
};

/// Exchanges are numbered from 0: one a training step, and before the first step of each generation those of its
/// warm-up, in which nothing is trained. A generation begins with the first step that lies in its epochs as a whole.
/// Warm-ups have epochs of their own, from number 2³¹ on, so that training visits the rows as it does without them.
struct LoomSchedule {
  std::int64_t rows = 0;  ///< of an epoch, at least as many as a batch has
  std::int64_t batch = 0;
  std::int64_t resample_every = 0;  ///< epochs of a generation; 0: there is one
  std::int64_t warm_up_epochs = 0;

  std::int64_t generation_of(std::int64_t step) const;
  std::int64_t first_step(std::int64_t generation) const;
  /// The exchanges of a warm-up.
  std::int64_t warm_up() const { return warm_up_epochs * rows / batch; }
  /// The first exchange of a generation, and that of a training step.
  std::int64_t first_exchange(std::int64_t generation) const;
  std::int64_t exchange_of(std::int64_t step) const { return step + (generation_of(step) + 1) * warm_up(); }

  LoomExchange exchange(std::int64_t number) const;
};

}  // namespace couplet
