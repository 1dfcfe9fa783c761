#include "pipeline/slices.h"

#include "pipeline/interruption.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {

void for_each_slice(Communicator& communicator, const SlicedRows& sizes,
                    const std::function<at::Tensor(std::int64_t first)>& make,
                    const std::function<void(const at::Tensor& values)>& add) {
  for (std::int64_t round = 0; round < sizes.rows; round += sizes.slice_rows * communicator.size()) {
    if (!sizes.stopped.empty() && agree_to_stop(communicator)) throw Interrupted(sizes.stopped);
    at::Tensor mine = at::zeros({sizes.slice_rows, sizes.columns}, at::kDouble);
    const std::int64_t first = round + sizes.slice_rows * communicator.rank();
    if (first < sizes.rows) {
      const at::Tensor made = make(first);
      mine.narrow(0, 0, made.size(0)).copy_(made);
    }
    const at::Tensor all = communicator.all_gather(mine);
    for (std::int64_t rank = 0; rank < communicator.size(); ++rank) {
      const std::int64_t count = std::min(sizes.slice_rows, sizes.rows - round - rank * sizes.slice_rows);
      if (count > 0) add(all[rank].narrow(0, 0, count));
    }
  }
}

}  // namespace couplet
