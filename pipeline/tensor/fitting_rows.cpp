#include "pipeline/tensor/fitting_rows.h"

#include "pipeline/tensor/row_chunks.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>
#include <vector>

namespace couplet {
namespace {

thread_local FittingRows* living = nullptr;

constexpr std::int64_t all_fit = std::numeric_limits<std::int64_t>::max();
/// Of the memory that is available; the rest is lost between blocks.
constexpr double usable_share = 0.9;

std::int64_t power_of_two_below(std::int64_t count) {
  return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(std::max<std::int64_t>(count, 1))));
}

/// While it lives, rows are not divided: those that are computed now are a part already.
class AtWork {
public:
  AtWork() : before_(std::exchange(living, nullptr)) {}
  ~AtWork() { living = before_; }
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;

private:
  FittingRows* before_;
};

}  // namespace

FittingRows::FittingRows(DeviceMemory* memory, std::int64_t rows, std::string key)
    : memory_(memory), rows_(rows), key_(std::move(key)) {
  if (memory_) living = this;
}

FittingRows::~FittingRows() {
  if (memory_) living = nullptr;
}

FittingRows* FittingRows::current() {
  return living;
}

std::int64_t FittingRows::measured(const RowWork& work) {
  const AtWork at_work;
  const RowBytes bytes = measure_rows(*memory_, 2, [&](std::int64_t rows) { work(0, rows); });
  const auto available = memory_->available();
  if (!available || bytes.row == 0) return all_fit;
  const double usable = usable_share * static_cast<double>(*available);
  return static_cast<std::int64_t>((usable - static_cast<double>(bytes.fixed)) / static_cast<double>(bytes.row));
}

std::int64_t FittingRows::at_once(const Kind& kind, std::int64_t n, const RowWork& work) {
  if (rows_ > 0 || n < 2) return std::min(n, std::max<std::int64_t>(rows_, 1));
  auto found = fit_.find(kind);
  if (found == fit_.end()) {
    std::int64_t fit = 1;
    try {
      fit = measured(work);
    } catch (const std::exception& error) {
      if (!is_exhaustion(error)) throw;  // one row at once may do
    }
    found = fit_.emplace(kind, fit).first;
  }
  return found->second >= n ? n : power_of_two_below(found->second);
}

void FittingRows::explain(std::int64_t count, std::int64_t n, const std::exception& error) const {
  const std::string advice = count == 1
                                 ? "not even one fits beside what is there: fewer processes on the device, recomputed "
                                   "activations (checkpoint-activations = true) or a smaller model"
                                 : fmt::format("a smaller {}, or 0, which takes as many as fit", key_);
  throw MemoryExhausted(
      fmt::format("memory ran out with {} of {} rows computed at once: {} ({})", count, n, advice, words_of(error)));
}

at::Tensor FittingRows::compute(std::int64_t n, const RowWork& work) {
  const Kind kind{work.target_type(), at::GradMode::is_enabled()};
  std::int64_t most = at_once(kind, n, work);
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < n || parts.empty();) {
    const std::int64_t count = std::min(most, n - first);
    try {
      const AtWork at_work;
      parts.push_back(work(first, count));
      first += count;
    } catch (const std::exception& error) {
      if (!is_exhaustion(error)) throw;
      if (rows_ > 0 || count < 2) explain(count, n, error);
      fit_[kind] = most = power_of_two_below(count - 1);
    }
  }
  if (parts.size() == 1) return parts.front();
  fewest_ = std::min(most, fewest_.value_or(most));
  return at::cat(parts);
}

at::Tensor fitting_rows(std::int64_t n, const RowWork& work) {
  FittingRows* const fitting = FittingRows::current();
  return fitting ? fitting->compute(n, work) : work(0, n);
}

at::Tensor by_fitting_rows(std::int64_t n, c10::Device device, const RowWork& work, std::int64_t chunk) {
  return FittingRows::current() ? fitting_rows(n, work) : by_row_chunks(n, device, work, chunk);
}

}  // namespace couplet
