#include "method/transport/semidiscrete.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace couplet {
namespace {

constexpr std::int64_t noises_at_once = 1024;      // whose choices lie in memory block by block
constexpr std::int64_t noises_of_a_product = 256;  // with a block of atoms: 1 MiB of float32, which caches hold
constexpr std::int64_t scores_compared = 64;       // before it is looked which of them is the largest
constexpr double no_score = -std::numeric_limits<double>::infinity();

template <class Value>
struct BestScore {
  Value score = -std::numeric_limits<Value>::infinity();
  std::int64_t place = 0;
};

/// The largest of `scores_compared` sums. The lanes are independent, so that the compiler takes several at once.
template <class Value>
Value largest_score(const Value* product, const Value* potential) {
  constexpr std::int64_t lanes = 8;
  Value best[lanes];
  for (std::int64_t lane = 0; lane < lanes; ++lane) best[lane] = product[lane] + potential[lane];
  for (std::int64_t j = lanes; j < scores_compared; j += lanes)
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const Value score = product[j + lane] + potential[j + lane];
      best[lane] = score > best[lane] ? score : best[lane];
    }
  return *std::max_element(best, best + lanes);
}

/// The first of the largest sums of a row. A better one is rare: most runs are looked at once.
template <class Value>
BestScore<Value> best_of_row(const Value* product, const Value* potential, std::int64_t atoms) {
  BestScore<Value> best;
  for (std::int64_t j = 0; j < atoms; j += scores_compared) {
    const std::int64_t end = std::min(j + scores_compared, atoms);
    if (end - j == scores_compared && !(largest_score(product + j, potential + j) > best.score)) continue;
    for (std::int64_t i = j; i < end; ++i)
      if (const Value score = product[i] + potential[i]; score > best.score) best = {score, i};
  }
  return best;
}

/// The best of every row of `product` [n, atoms] goes to row `to` of `score` and `atom`, from column `column` on.
template <class Value>
void store_best(const at::Tensor& product, const at::Tensor& potential, std::int64_t first_atom, double* score,
                std::int64_t* atom) {
  const std::int64_t atoms = product.size(1);
  for (std::int64_t row = 0; row < product.size(0); ++row) {
    const auto best =
        best_of_row(product.const_data_ptr<Value>() + row * atoms, potential.const_data_ptr<Value>(), atoms);
    score[row] = static_cast<double>(best.score);
    atom[row] = first_atom + best.place;
  }
}

/// Noise [n, d] against one block on the CPU.
void choose_in_block(const at::Tensor& noise, const at::Tensor& points, const at::Tensor& potential,
                     std::int64_t first_atom, double* score, std::int64_t* atom) {
  const std::int64_t atoms = points.size(0);
  const at::Tensor memory = at::empty({noises_of_a_product * atoms}, points.options());
  for (std::int64_t first = 0; first < noise.size(0); first += noises_of_a_product) {
    const std::int64_t count = std::min(noises_of_a_product, noise.size(0) - first);
    at::Tensor product = memory.narrow(0, 0, count * atoms).view({count, atoms});
    at::mm_out(product, noise.narrow(0, first, count), points.t());
    if (points.scalar_type() == at::kDouble)
      store_best<double>(product, potential, first_atom, score + first, atom + first);
    else
      store_best<float>(product, potential, first_atom, score + first, atom + first);
  }
}

/// The same on another device: `max` gives the first of the largest.
void choose_on_device(const at::Tensor& noise, const at::Tensor& points, const at::Tensor& potential,
                      std::int64_t first_atom, const at::Tensor& score, const at::Tensor& atom) {
  const auto [best, place] = at::addmm(potential, noise, points.t()).max(1);
  score.copy_(best);
  atom.copy_(place.add(first_atom));
}

AtomChoice no_choice(std::int64_t groups, std::int64_t noises) {
  return {at::full({groups, noises}, no_score, at::kDouble), at::full({groups, noises}, -1, at::kLong)};
}

/// Takes over what is better: a larger score, or the same of a lower atom. -1 is no atom.
void take_better(double& score, std::int64_t& atom, double other_score, std::int64_t other_atom) {
  if (other_atom < 0 || other_score < score || (other_score == score && atom >= 0 && atom < other_atom)) return;
  score = other_score;
  atom = other_atom;
}

/// ‖x_j‖ in float64, atom by atom.
void store_norms(const at::Tensor& points, double* norms) {
  const at::Tensor values = points.to(at::kDouble).contiguous();
  const double* value = values.const_data_ptr<double>();
  for (std::int64_t atom = 0; atom < points.size(0); ++atom) {
    double square = 0;
    for (std::int64_t i = 0; i < points.size(1); ++i, ++value) square += *value * *value;
    norms[atom] = std::sqrt(square);
  }
}

at::Tensor checked_points(at::Tensor points, const AtomBlocks::Block& block) {
  if (points.dim() != 2 || points.size(0) != block.atoms || !points.is_floating_point())
    fail("points of atoms {} to {} have {} rows and {} axes of type {}; expected {} rows of floating type", block.first,
         block.first + block.atoms - 1, points.dim() > 0 ? points.size(0) : 0, points.dim(),
         c10::toString(points.scalar_type()), block.atoms);
  const at::Tensor finite = points.isfinite().all(1);
  if (!finite.all().item<bool>())
    fail("the point of atom {} holds values that are not finite: nothing can be transported to it",
         block.first + finite.to(at::kInt).argmin().item<std::int64_t>());
  return points.contiguous();
}

}  // namespace

AtomBlocks::AtomBlocks(const std::vector<std::int64_t>& group_sizes) : firsts_{0} {
  for (std::size_t group = 0; group < group_sizes.size(); ++group) {
    const std::int64_t first = firsts_.back(), end = first + group_sizes[group];
    first_blocks_.push_back(blocks());
    for (std::int64_t at = first; at < end; at += atoms_a_block)
      blocks_.push_back({static_cast<std::int64_t>(group), at, std::min(atoms_a_block, end - at)});
    firsts_.push_back(end);
  }
  if (atoms() < 1) refuse("semidiscrete transport to no atoms: the data set has no images");
}

std::int64_t AtomBlocks::block_of(std::int64_t atom) const {
  // Of groups that begin at one atom all but the last are empty.
  const auto group = static_cast<std::size_t>(std::ranges::upper_bound(firsts_, atom) - firsts_.begin() - 1);
  return first_blocks_[group] + (atom - firsts_[group]) / atoms_a_block;
}

Atoms::Atoms(const AtomBlocks& blocks, const std::function<at::Tensor(std::int64_t block)>& points,
             Communicator& communicator, c10::Device device)
    : blocks_(blocks), communicator_(communicator), device_(device) {
  for (std::int64_t block = communicator.rank(); block < blocks.blocks(); block += communicator.size())
    own_.push_back(block);
  norms_ = zero_column();
  run_on_all(communicator, [&] {
    for (const std::int64_t block : own_) {
      const at::Tensor own = checked_points(points(block), blocks.block(block));
      store_norms(own, norms_.mutable_data_ptr<double>() + std::ssize(points_) * atoms_a_block);
      points_.push_back(own.to(device));
    }
  });
  // A rank may own nothing: it learns from rank 0, which owns the first block, what the others have.
  at::Tensor form = at::zeros({2}, at::kLong);
  if (!points_.empty())
    form = at::tensor({points_[0].size(1), std::int64_t{points_[0].scalar_type() == at::kDouble}}, at::kLong);
  communicator.broadcast(form, 0);
  dimension_ = form[0].item<std::int64_t>();
  type_ = form[1].item<std::int64_t>() != 0 ? at::kDouble : at::kFloat;
  for (const at::Tensor& own : points_)
    if (own.size(1) != dimension_ || own.scalar_type() != type_)
      fail("atoms have {} values of type {} and {} values of type {}; expected the same of all", dimension_,
           c10::toString(type_), own.size(1), c10::toString(own.scalar_type()));
}

at::Tensor Atoms::zero_column() const {
  return at::zeros({std::ssize(own_), atoms_a_block}, at::kDouble);
}

at::Tensor Atoms::whole(const at::Tensor& own_column) const {
  const std::int64_t ranks = communicator_.size(), rounds = (blocks_.blocks() + ranks - 1) / ranks;
  at::Tensor padded = at::zeros({rounds, atoms_a_block}, at::kDouble);
  padded.narrow(0, 0, own_column.size(0)).copy_(own_column);
  const at::Tensor all = communicator_.all_gather(padded).transpose(0, 1).reshape({rounds * ranks, atoms_a_block});
  at::Tensor values = at::empty({blocks_.atoms()}, at::kDouble);
  for (std::int64_t i = 0; i < blocks_.blocks(); ++i) {
    const AtomBlocks::Block& block = blocks_.block(i);
    values.narrow(0, block.first, block.atoms).copy_(all[i].narrow(0, 0, block.atoms));
  }
  return values;
}

at::Tensor Atoms::own_column(const at::Tensor& whole) const {
  at::Tensor column = zero_column();
  for (std::size_t i = 0; i < own_.size(); ++i) {
    const AtomBlocks::Block& block = blocks_.block(own_[i]);
    column[static_cast<std::int64_t>(i)].narrow(0, 0, block.atoms).copy_(whole.narrow(0, block.first, block.atoms));
  }
  return column;
}

AtomChoice Atoms::choose(const at::Tensor& noise, const at::Tensor& potentials, const GroupRange& groups) const {
  if (noise.dim() != 2 || noise.size(1) != dimension_ || noise.scalar_type() != type_)
    fail("noise of {} values of type {} for atoms of {} values of type {}", noise.dim() == 2 ? noise.size(1) : 0,
         c10::toString(noise.scalar_type()), dimension_, c10::toString(type_));
  AtomChoice choice = no_choice(blocks_.groups(), noise.size(0));
  const at::Tensor there = noise.to(device_), rounded = potentials.to(device_, type_);
  for (std::int64_t first = 0; first < noise.size(0); first += noises_at_once) {
    const std::int64_t count = std::min(noises_at_once, noise.size(0) - first);
    const AtomChoice found = best_over_ranks(choose_own(there.narrow(0, first, count), rounded, groups));
    choice.score.narrow(1, first, count).copy_(found.score);
    choice.atom.narrow(1, first, count).copy_(found.atom);
  }
  return choice;
}

AtomChoice Atoms::choose_own(const at::Tensor& noise, const at::Tensor& potentials, const GroupRange& groups) const {
  const std::int64_t own_blocks = std::ssize(own_), noises = noise.size(0);
  const AtomChoice in_blocks = no_choice(own_blocks, noises);
  each_on_one_thread(own_blocks, device_, [&](std::int64_t i) {
    const AtomBlocks::Block& block = blocks_.block(own_[static_cast<std::size_t>(i)]);
    if (!groups.holds(block.group)) return;
    const at::Tensor& points = points_[static_cast<std::size_t>(i)];
    const at::Tensor potential = potentials[i].narrow(0, 0, block.atoms);
    if (device_.is_cpu())
      choose_in_block(noise, points, potential, block.first, in_blocks.score.mutable_data_ptr<double>() + i * noises,
                      in_blocks.atom.mutable_data_ptr<std::int64_t>() + i * noises);
    else
      choose_on_device(noise, points, potential, block.first, in_blocks.score[i], in_blocks.atom[i]);
  });
  AtomChoice best = no_choice(blocks_.groups(), noises);
  auto best_score = best.score.accessor<double, 2>();
  auto best_atom = best.atom.accessor<std::int64_t, 2>();
  const auto score = in_blocks.score.accessor<double, 2>();
  const auto atom = in_blocks.atom.accessor<std::int64_t, 2>();
  for (std::int64_t i = 0; i < own_blocks; ++i) {
    const std::int64_t group = blocks_.block(own_[static_cast<std::size_t>(i)]).group;
    for (std::int64_t n = 0; n < noises; ++n)
      take_better(best_score[group][n], best_atom[group][n], score[i][n], atom[i][n]);
  }
  return best;
}

AtomChoice Atoms::best_over_ranks(const AtomChoice& own) const {
  if (communicator_.size() == 1) return own;
  // Atoms are whole numbers below 2^53, which float64 holds.
  const at::Tensor all = communicator_.all_gather(at::stack({own.score, own.atom.to(at::kDouble)}));
  const at::Tensor score = all.select(1, 0), atom = all.select(1, 1).to(at::kLong);
  AtomChoice best = no_choice(own.score.size(0), own.score.size(1));
  auto best_score = best.score.accessor<double, 2>();
  auto best_atom = best.atom.accessor<std::int64_t, 2>();
  const auto of_rank = score.accessor<double, 3>();
  const auto atom_of_rank = atom.accessor<std::int64_t, 3>();
  for (std::int64_t rank = 0; rank < all.size(0); ++rank)
    for (std::int64_t group = 0; group < best.score.size(0); ++group)
      for (std::int64_t n = 0; n < best.score.size(1); ++n)
        take_better(best_score[group][n], best_atom[group][n], of_rank[rank][group][n], atom_of_rank[rank][group][n]);
  return best;
}

double unbiased_chi2(const AtomBlocks& blocks, const at::Tensor& atom) {
  const auto noises = static_cast<double>(atom.size(1));
  double mean = 0;
  for (std::int64_t group = 0; group < blocks.groups(); ++group) {
    if (blocks.size_of(group) == 0) continue;
    const at::Tensor sorted = std::get<0>(atom[group].contiguous().sort());
    const std::int64_t* at = sorted.const_data_ptr<std::int64_t>();
    double pairs = 0;  // Σ_j c_j (c_j - 1) / 2
    for (std::int64_t n = 1, same = 0; n < sorted.numel(); ++n) {
      same = at[n] == at[n - 1] ? same + 1 : 0;
      pairs += static_cast<double>(same);
    }
    const auto size = static_cast<double>(blocks.size_of(group));
    const double chi2 = size * 2 * pairs / (noises * (noises - 1)) - 1;
    mean += size / static_cast<double>(blocks.atoms()) * chi2;
  }
  return mean;
}

}  // namespace couplet
