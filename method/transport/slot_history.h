// What a table of noises was after each step, for checkpoints that are taken at any of them.
#pragma once

#include "pipeline/tensor/weights.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace couplet {

/// A whole table and the changes since. The table is copied when the changes have become as large as it, so that a
/// state costs nothing to take and training never waits for a copy of the table in each step.
class SlotHistory {
public:
  /// After so many steps the slots hold these ids.
  SlotHistory(const std::vector<std::int64_t>& ids, std::int64_t steps);
  /// Takes up what `state` gave. A state that lacks something or contradicts itself is an error.
  explicit SlotHistory(const NamedTensors& state);

  std::int64_t steps() const { return steps_; }
  /// The ids of all slots after these steps.
  std::vector<std::int64_t> ids() const;

  /// A further step leaves these ids in these slots.
  void add(const std::vector<std::int64_t>& slots, const std::vector<std::int64_t>& ids);
  /// A further step leaves these ids in all slots.
  void add_whole(const std::vector<std::int64_t>& ids);

  /// "ids" int64 [slots], "changes" int64 [n, 2] of slot and id, the later ones hold, and "steps": tensors that later
  /// steps leave as they are.
  NamedTensors state() const;

private:
  void begin(const std::vector<std::int64_t>& ids);

  at::Tensor ids_;            ///< of the whole table, before the changes
  at::Tensor changes_;        ///< [room for so many, 2]
  std::int64_t changed_ = 0;  ///< how many there are
  std::int64_t steps_ = 0;
};

}  // namespace couplet
