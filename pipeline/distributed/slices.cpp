#include "pipeline/distributed/slices.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/device_memory.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/files/row_journal.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

namespace couplet {
namespace {

std::optional<RowJournal> open_journal(Communicator& communicator, const SlicedRows& sizes) {
  if (sizes.journal.path.empty() || !communicator.is_root()) return std::nullopt;
  const std::size_t row_bytes = static_cast<std::size_t>(sizes.columns) * at::elementSize(sizes.type);
  const std::string identity =
      fmt::format("{} ({} rows in slices of {})", sizes.journal.identity, sizes.rows, sizes.slice_rows);
  return RowJournal(sizes.journal.path, identity, row_bytes, RowJournal::Others::replaced);
}

/// Hands on what rank 0's journal holds. Returns the number of rows.
std::int64_t replay(Communicator& communicator, const SlicedRows& sizes, const std::optional<RowJournal>& journal,
                    const std::function<void(const at::Tensor& values)>& add) {
  if (sizes.journal.path.empty()) return 0;
  const std::int64_t kept = communicator.maximum(journal ? journal->rows() : 0);
  for (std::int64_t first = 0; first < kept; first += sizes.slice_rows) {
    const std::int64_t count = std::min(sizes.slice_rows, kept - first);
    at::Tensor rows = at::zeros({count, sizes.columns}, sizes.type);
    if (journal) journal->read(first, count, writable_bytes(rows));
    communicator.broadcast(rows, 0);
    add(rows.to(at::kDouble));
  }
  if (kept > 0) say("{} of {} rows are there from an earlier attempt", kept, sizes.rows);
  return kept;
}

/// Where memory runs out on one rank, all of them say so together; other errors leave by themselves. Collective.
void make_together(Communicator& communicator, const std::function<void()>& make) {
  std::string exhausted;
  try {
    make();
  } catch (const std::exception& error) {
    if (!is_exhaustion(error)) throw;
    exhausted = fmt::format("rank {}: {}", communicator.rank(), words_of(error));
  }
  if (communicator.maximum(exhausted.empty() ? 0 : 1) == 0) return;
  for (const std::string& text : communicator.gather_text(exhausted))
    if (!text.empty()) throw MemoryExhausted(text);
}

}  // namespace

void for_each_slice(Communicator& communicator, const SlicedRows& sizes,
                    const std::function<at::Tensor(std::int64_t first)>& make,
                    const std::function<void(const at::Tensor& values)>& add) {
  std::optional<RowJournal> journal = open_journal(communicator, sizes);
  const std::int64_t together = sizes.slice_rows * communicator.size();
  for (std::int64_t round = replay(communicator, sizes, journal, add); round < sizes.rows; round += together) {
    if (!sizes.stopped.empty() && agree_to_stop(communicator)) throw Interrupted(sizes.stopped);
    at::Tensor mine = at::zeros({sizes.slice_rows, sizes.columns}, sizes.type);
    const std::int64_t first = round + sizes.slice_rows * communicator.rank();
    make_together(communicator, [&] {
      if (first >= sizes.rows) return;
      const at::Tensor made = make(first);
      mine.narrow(0, 0, made.size(0)).copy_(made);
    });
    const at::Tensor all = communicator.all_gather(mine).flatten(0, 1);
    const std::int64_t there = std::min(together, sizes.rows - round);
    if (journal) journal->append(bytes_of(all.narrow(0, 0, there)));
    for (std::int64_t row = 0; row < there; row += sizes.slice_rows) {
      add(all.narrow(0, row, std::min(sizes.slice_rows, there - row)).to(at::kDouble));
    }
  }
}

}  // namespace couplet
