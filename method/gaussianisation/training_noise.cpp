#include "method/gaussianisation/training_noise.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/liveness/activity.h"
#include "pipeline/process/interruption.h"
#include "pipeline/tensor/row_chunks.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t group_rows = 16384, groups_of_a_rank = 4;

/// The places in `pieces` at which groups begin, and their end.
std::vector<std::int64_t> group_bounds(const std::vector<RowPiece>& pieces) {
  std::vector<std::int64_t> bounds{0};
  std::int64_t rows = 0;
  for (std::int64_t i = 0; i < std::ssize(pieces); ++i) {
    rows += pieces[static_cast<std::size_t>(i)].count;
    if (rows < group_rows && i + 1 < std::ssize(pieces)) continue;
    bounds.push_back(i + 1);
    rows = 0;
  }
  return bounds;
}

}  // namespace

std::vector<RowPiece> pieces_of(std::int64_t rows, std::int64_t piece_rows) {
  std::vector<RowPiece> pieces;
  for (std::int64_t first = 0; first < rows; first += piece_rows)
    pieces.push_back({first, std::min(piece_rows, rows - first)});
  return pieces;
}

at::Tensor sum_over_rows(const TrainingNoise& rows, const std::vector<RowPiece>& pieces,
                         const std::vector<std::int64_t>& sizes,
                         const std::function<void(at::Tensor& sum, const LabelledNoise& piece)>& add) {
  Communicator& communicator = rows.communicator;
  const std::vector<std::int64_t> bounds = group_bounds(pieces);
  const std::int64_t groups = std::ssize(bounds) - 1, ranks = communicator.size();
  at::Tensor total = at::zeros(sizes, at::kDouble);
  for (std::int64_t round = 0; round < groups; round += groups_of_a_rank * ranks) {
    std::vector<at::Tensor> own(groups_of_a_rank);
    run_on_all(communicator, [&] {
      each_on_one_thread(groups_of_a_rank, c10::kCPU, [&](std::int64_t slot) {
        const std::int64_t group = round + slot * ranks + communicator.rank();
        if (group >= groups) return;
        at::Tensor& sum = own[static_cast<std::size_t>(slot)] = at::zeros(sizes, at::kDouble);
        for (std::int64_t i = bounds[static_cast<std::size_t>(group)]; i < bounds[static_cast<std::size_t>(group) + 1];
             ++i) {
          if (stop_requested()) return;
          const RowPiece& piece = pieces[static_cast<std::size_t>(i)];
          add(sum, rows.read(piece.first, piece.count));
          note_progress();
        }
      });
    });
    if (agree_to_stop(communicator))
      throw Interrupted("stopped while a map was fitted to noise; the same command begins with that map anew");
    for (std::int64_t group = round; group < std::min(groups, round + groups_of_a_rank * ranks); ++group) {
      const std::int64_t owner = (group - round) % ranks, slot = (group - round) / ranks;
      at::Tensor sum = owner == communicator.rank() ? own[static_cast<std::size_t>(slot)] : at::empty_like(total);
      communicator.broadcast(sum, static_cast<int>(owner));
      total += sum;
    }
  }
  return total;
}

}  // namespace couplet
