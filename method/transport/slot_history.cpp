#include "method/transport/slot_history.h"

#include "storage/error.h"

#include <ATen/ATen.h>

#include <iterator>

namespace couplet {
namespace {

const at::Tensor& part_of(const NamedTensors& state, const char* name, std::int64_t dimensions) {
  const auto found = state.find(name);
  if (found == state.end()) fail("the state of a table of noises lacks '{}'", name);
  const at::Tensor& tensor = found->second;
  if (tensor.scalar_type() != at::kLong || tensor.dim() != dimensions)
    fail("'{}' of the state of a table of noises is {} of {} dimensions; expected int64 of {}", name,
         toString(tensor.scalar_type()), tensor.dim(), dimensions);
  return tensor;
}

/// A change takes the room of two ids. Memory that is never written to is never taken.
at::Tensor room_for_changes(std::int64_t slots) {
  return at::empty({slots / 2, 2}, at::kLong);
}

}  // namespace

SlotHistory::SlotHistory(const std::vector<std::int64_t>& ids, std::int64_t steps) : steps_(steps) {
  begin(ids);
}

SlotHistory::SlotHistory(const NamedTensors& state)
    : ids_(part_of(state, "ids", 1).contiguous()), steps_(part_of(state, "steps", 0).item<std::int64_t>()) {
  const at::Tensor changes = part_of(state, "changes", 2).contiguous();
  changes_ = room_for_changes(ids_.numel());
  changed_ = changes.size(0);
  if (changes.size(1) != 2 || changed_ > changes_.size(0))
    fail("the state of a table of {} noises has changes {} x {}; expected at most {} x 2", ids_.numel(), changed_,
         changes.size(1), changes_.size(0));
  const auto* change = changes.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < changed_; ++i, change += 2)
    if (*change < 0 || *change >= ids_.numel())
      fail("change {} of the state of a table of noises is of slot {}; there are {}", i, *change, ids_.numel());
  changes_.narrow(0, 0, changed_).copy_(changes);
}

void SlotHistory::begin(const std::vector<std::int64_t>& ids) {
  ids_ = at::tensor(ids, at::kLong);
  changes_ = room_for_changes(ids_.numel());
  changed_ = 0;
}

std::vector<std::int64_t> SlotHistory::ids() const {
  const auto* first = ids_.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> ids(first, first + ids_.numel());
  const auto* change = changes_.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < changed_; ++i, change += 2) ids[static_cast<std::size_t>(change[0])] = change[1];
  return ids;
}

void SlotHistory::add(const std::vector<std::int64_t>& slots, const std::vector<std::int64_t>& ids) {
  if (changed_ + std::ssize(slots) > changes_.size(0)) {
    std::vector<std::int64_t> whole = this->ids();
    for (std::size_t i = 0; i < slots.size(); ++i) whole[static_cast<std::size_t>(slots[i])] = ids[i];
    return add_whole(whole);
  }
  auto* change = changes_.data_ptr<std::int64_t>() + 2 * changed_;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    *change++ = slots[i];
    *change++ = ids[i];
  }
  changed_ += std::ssize(slots);
  ++steps_;
}

void SlotHistory::add_whole(const std::vector<std::int64_t>& ids) {
  begin(ids);
  ++steps_;
}

NamedTensors SlotHistory::state() const {
  return {{"ids", ids_}, {"changes", changes_.narrow(0, 0, changed_)}, {"steps", at::scalar_tensor(steps_, at::kLong)}};
}

}  // namespace couplet
