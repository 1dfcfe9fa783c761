// The table of LOOM-CFM: which k noises each row of the data has, and how the rows of a batch exchange them
// (Davtyan, Dadi, Cevher, Favaro, ICLR 2025; the steps are those of its code, Araachie/loom-cfm 213f24f).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stop_token>
#include <vector>

namespace couplet {

/// Which slots take part in the exchange of a batch. Slot row · k + c is number c of the k slots of a row.
struct DrawnSlots {
  std::vector<std::int64_t> slot;  ///< of each row of the batch
  std::vector<std::int64_t>
      first;  ///< the first row of the batch with that slot: a row's own place, where it takes part

  std::int64_t rows() const { return static_cast<std::int64_t>(slot.size()); }
  bool takes_part(std::int64_t row) const { return first[static_cast<std::size_t>(row)] == row; }
};

/// Draws a slot of each row of a batch, whose first row stands at a position of the run: a function of (seed,
/// position). A row that comes again in the batch takes the next slot of its own that is free; where none is, it sits
/// the exchange out, and afterwards shares the noise of its drawn slot.
DrawnSlots draw_slots(const std::vector<std::int64_t>& rows, std::int64_t slots_a_row, std::uint64_t seed,
                      std::int64_t first_position);

/// The Euclidean distance, not squared, of each row of x [n, ...] from each of z [m, ...]: float64 [n, m], computed
/// from float32 values.
at::Tensor distances(const at::Tensor& x, const at::Tensor& z);

/// Returns for each row of a batch the row whose noise it takes so that the sum of the distances is least over the rows
/// that take part; the others take what their drawn slot gets. x: images, z: the noises of the drawn slots before,
/// float32 [n, ...]. `pools`, int64 [n]: a row takes only noise of a row with its own number (rows of one slot have the
/// same); undefined: of any row. Computed on one thread. A request to stop ends it soon, by an error.
std::vector<std::int64_t> assign_noises(const at::Tensor& x, const at::Tensor& z, const DrawnSlots& drawn,
                                        const at::Tensor& pools = {}, const std::stop_token& stop = {});

/// The ids of the noises in the slots: at all times a permutation of 0 … slots - 1, as a batch can do nothing but
/// exchange them.
class NoiseSlots {
public:
  /// Slot s has id s.
  explicit NoiseSlots(std::int64_t slots);
  /// Ids that are no permutation of 0 … slots - 1 are an error that names slot and id.
  explicit NoiseSlots(std::vector<std::int64_t> ids);

  std::int64_t size() const { return static_cast<std::int64_t>(ids_.size()); }
  const std::vector<std::int64_t>& ids() const { return ids_; }
  std::vector<std::int64_t> ids_of(const std::vector<std::int64_t>& slots) const;

  /// Row i of the batch takes the id that the drawn slot of row taken[i] held before. Returns the ids that the drawn
  /// slots hold afterwards. Anything but an exchange among the rows that take part is an error, and changes nothing.
  std::vector<std::int64_t> exchange(const DrawnSlots& drawn, const std::vector<std::int64_t>& taken);

  /// Depends on which id is in which slot; kept up to date by every exchange.
  std::uint64_t digest() const { return digest_; }

private:
  std::vector<std::int64_t> ids_;
  std::uint64_t digest_ = 0;
};

/// Fails unless `ids` are a permutation of 0 … ids.size() - 1, naming slot and id.
void require_permutation(const std::vector<std::int64_t>& ids);

}  // namespace couplet
