// Which rows of a training run a rank computes in one step.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

namespace couplet {

/// This rank's rows of the global batch of one step.
struct BatchRange {
  std::int64_t step = 0;
  std::int64_t first = 0;  ///< its position in the training run: step · global batch + rank · rows
  std::int64_t rows = 0;
  std::int64_t batch = 0;  ///< global batch: the next step's rows begin this far behind these; 0: right behind them

  std::vector<std::int64_t> positions() const {
    std::vector<std::int64_t> all(static_cast<std::size_t>(rows));
    std::iota(all.begin(), all.end(), first);
    return all;
  }
};

}  // namespace couplet
