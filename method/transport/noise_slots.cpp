#include "method/transport/noise_slots.h"

#include "method/transport/assignment.h"
#include "method/transport/batch_assignment.h"
#include "pipeline/tensor/random.h"
#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <unordered_map>

namespace couplet {
namespace {

/// A hash of one entry of the table (the finaliser of splitmix64).
std::uint64_t entry_digest(std::int64_t slot, std::int64_t id) {
  std::uint64_t hash = static_cast<std::uint64_t>(slot) * 0x9E3779B97F4A7C15 + static_cast<std::uint64_t>(id);
  hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9;
  hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EB;
  return hash ^ (hash >> 31);
}

std::uint64_t table_digest(const std::vector<std::int64_t>& ids) {
  std::uint64_t sum = 0;
  for (std::size_t slot = 0; slot < ids.size(); ++slot) sum += entry_digest(static_cast<std::int64_t>(slot), ids[slot]);
  return sum;
}

std::vector<std::int64_t> first_ids(std::int64_t slots) {
  if (slots < 1) fail("a table of {} noises: it has at least one", slots);
  std::vector<std::int64_t> ids(static_cast<std::size_t>(slots));
  std::iota(ids.begin(), ids.end(), std::int64_t{0});
  return ids;
}

/// Fails unless the rows that take part exchange their noises among them, and the others follow the first of their
/// slot.
void require_exchange(const DrawnSlots& drawn, const std::vector<std::int64_t>& taken) {
  if (taken.size() != drawn.slot.size())
    fail("an exchange of noises names {} rows; the batch has {}", taken.size(), drawn.slot.size());
  std::vector<bool> given(taken.size(), false);
  for (std::size_t row = 0; row < taken.size(); ++row) {
    const std::int64_t from = taken[row];
    if (from < 0 || from >= drawn.rows() || !drawn.takes_part(from))
      fail("an exchange of noises gives row {} of the batch the noise of row {}, which takes no part", row, from);
    if (!drawn.takes_part(static_cast<std::int64_t>(row))) continue;
    if (given[static_cast<std::size_t>(from)])
      fail("an exchange of noises gives that of row {} of the batch twice", from);
    given[static_cast<std::size_t>(from)] = true;
  }
  for (std::size_t row = 0; row < taken.size(); ++row)
    if (taken[row] != taken[static_cast<std::size_t>(drawn.first[row])])
      fail("an exchange of noises gives rows {} and {} of the batch, of one slot, two noises", drawn.first[row], row);
}

}  // namespace

DrawnSlots draw_slots(const std::vector<std::int64_t>& rows, std::int64_t slots_a_row, std::uint64_t seed,
                      std::int64_t first_position) {
  if (slots_a_row < 1) fail("{} noises a row: a row has at least one", slots_a_row);
  DrawnSlots drawn;
  std::unordered_map<std::int64_t, std::int64_t> taken;  // slot → the row of the batch that has it
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto place = static_cast<std::int64_t>(i);
    Draws draws(seed, Purpose::noise_slot, static_cast<std::uint64_t>(first_position + place));
    auto number = static_cast<std::int64_t>(draws.below(static_cast<std::uint64_t>(slots_a_row)));
    const auto slot = [&] { return rows[i] * slots_a_row + number; };
    for (std::int64_t tries = 1; tries < slots_a_row && taken.contains(slot()); ++tries)
      number = (number + 1) % slots_a_row;
    drawn.slot.push_back(slot());
    drawn.first.push_back(taken.try_emplace(slot(), place).first->second);
  }
  return drawn;
}

at::Tensor distances(const at::Tensor& x, const at::Tensor& z) {
  return squared_distances(x, z).clamp_min_(0).sqrt_();
}

std::vector<std::int64_t> assign_noises(const at::Tensor& x, const at::Tensor& z, const DrawnSlots& drawn,
                                        const at::Tensor& pools, const std::stop_token& stop) {
  const OneThread one_thread;
  std::vector<std::int64_t> taken(drawn.slot.size());
  for (std::vector<std::int64_t> parts : rows_of_pools(pools, drawn.rows())) {
    std::erase_if(parts, [&](std::int64_t row) { return !drawn.takes_part(row); });
    const at::Tensor chosen = at::tensor(parts, at::kLong);
    const at::Tensor cost = distances(x.index_select(0, chosen), z.index_select(0, chosen));
    const std::span<const float> values(cost.const_data_ptr<float>(), static_cast<std::size_t>(cost.numel()));
    const std::vector<std::int32_t> column = solve_assignment(values, std::ssize(parts), stop).column_of_row;
    for (std::size_t i = 0; i < parts.size(); ++i)
      taken[static_cast<std::size_t>(parts[i])] = parts[static_cast<std::size_t>(column[i])];
  }
  for (std::size_t row = 0; row < taken.size(); ++row) taken[row] = taken[static_cast<std::size_t>(drawn.first[row])];
  return taken;
}

NoiseSlots::NoiseSlots(std::int64_t slots) : ids_(first_ids(slots)), digest_(table_digest(ids_)) {}

NoiseSlots::NoiseSlots(std::vector<std::int64_t> ids) : ids_(std::move(ids)) {
  require_permutation(ids_);
  digest_ = table_digest(ids_);
}

std::vector<std::int64_t> NoiseSlots::ids_of(const std::vector<std::int64_t>& slots) const {
  std::vector<std::int64_t> ids;
  ids.reserve(slots.size());
  for (const std::int64_t slot : slots) ids.push_back(ids_.at(static_cast<std::size_t>(slot)));
  return ids;
}

std::vector<std::int64_t> NoiseSlots::exchange(const DrawnSlots& drawn, const std::vector<std::int64_t>& taken) {
  require_exchange(drawn, taken);
  const std::vector<std::int64_t> before = ids_of(drawn.slot);
  std::vector<std::int64_t> after(before.size());
  for (std::size_t row = 0; row < after.size(); ++row) {
    after[row] = before[static_cast<std::size_t>(taken[row])];
    if (!drawn.takes_part(static_cast<std::int64_t>(row))) continue;
    ids_[static_cast<std::size_t>(drawn.slot[row])] = after[row];
    digest_ += entry_digest(drawn.slot[row], after[row]) - entry_digest(drawn.slot[row], before[row]);
  }
  return after;
}

void require_permutation(const std::vector<std::int64_t>& ids) {
  std::vector<bool> seen(ids.size(), false);
  for (std::size_t slot = 0; slot < ids.size(); ++slot) {
    const std::int64_t id = ids[slot];
    if (id < 0 || id >= std::ssize(ids))
      fail("the noise in slot {} has id {}; a table of {} noises has 0 to {}", slot, id, ids.size(), ids.size() - 1);
    if (seen[static_cast<std::size_t>(id)]) fail("noise {} is in two slots of the table, of which one is {}", id, slot);
    seen[static_cast<std::size_t>(id)] = true;
  }
}

}  // namespace couplet
