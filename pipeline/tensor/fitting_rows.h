// Rows that are computed at once: as many as fit into a GPU's memory.
#pragma once

#include "pipeline/tensor/device_memory.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <typeindex>
#include <utility>

namespace couplet {

/// The results [count, ...] of rows [first, first + count).
using RowWork = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

/// While it lives, `fitting_rows` and `by_fitting_rows` on this thread compute rows in turn, as many at once as fit:
/// all of them, or a power of two. It measures each kind of work (each place in the program that hands work over) once.
/// Where memory runs out all the same, half as many are taken. Work within such work is not divided again. One lives at
/// a time on a thread. It is meant for GPUs: on a CPU rows go by `by_row_chunks`, whose digits depend on no memory.
class FittingRows {
public:
  /// `memory`: of the device; none: this object does nothing, and neither is anything divided. `rows`: so many are
  /// taken instead; 0: as many as fit. `key` names `rows` to the user.
  FittingRows(DeviceMemory* memory, std::int64_t rows, std::string key);
  ~FittingRows();
  FittingRows(const FittingRows&) = delete;
  FittingRows& operator=(const FittingRows&) = delete;

  /// The one that lives on this thread and is not at work; null where there is none.
  static FittingRows* current();
  /// Computes n rows. Throws MemoryExhausted where not even one row at once fits, or not `rows`.
  at::Tensor compute(std::int64_t n, const RowWork& work);
  /// The fewest rows at once of a computation that was divided; nothing if none was.
  std::optional<std::int64_t> fewest() const { return fewest_; }

private:
  /// A place in the program, with gradients or without.
  using Kind = std::pair<std::type_index, bool>;

  std::int64_t at_once(const Kind& kind, std::int64_t n, const RowWork& work);
  std::int64_t measured(const RowWork& work);
  [[noreturn]] void explain(std::int64_t count, std::int64_t n, const std::exception& error) const;

  DeviceMemory* memory_;
  std::int64_t rows_;
  std::string key_;
  std::map<Kind, std::int64_t> fit_;
  std::optional<std::int64_t> fewest_;
};

/// The results of n rows, joined: as the FittingRows that lives here has it; all rows at once where there is none.
at::Tensor fitting_rows(std::int64_t n, const RowWork& work);
/// The same, but `by_row_chunks` where there is none.
at::Tensor by_fitting_rows(std::int64_t n, c10::Device device, const RowWork& work, std::int64_t chunk = 16);

}  // namespace couplet
