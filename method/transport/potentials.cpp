#include "method/transport/potentials.h"

#include "storage/error.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t noises_in_memory = 4096;
constexpr std::int64_t judging_noise = std::int64_t{1} << 62;  // numbers that no step reaches
constexpr std::int64_t repeats = 8, fewest_noises = 256;       // of measuring χ²
constexpr std::int64_t fewest_steps = 500;
constexpr double stationary_chi2 = 0.4;
constexpr double least_quantile = 0.5;

/// Φ⁻¹(1 - 1/n): what the largest of n standard normal values is about.
double largest_normal_of(std::int64_t n) {
  const double share = 1 - 1 / static_cast<double>(std::max<std::int64_t>(n, 2));
  return std::max(least_quantile, at::special_ndtri(at::scalar_tensor(share, at::kDouble)).item<double>());
}

double group_mean(const AtomBlocks& blocks, std::int64_t group, const at::Tensor& values) {
  const double* value = values.const_data_ptr<double>();
  double sum = 0;
  for (std::int64_t atom = blocks.first_of(group); atom < blocks.first_of(group + 1); ++atom) sum += value[atom];
  return sum / static_cast<double>(blocks.size_of(group));
}

/// Noises of a repeat: near χ² = 0 its variance is that of counted pairs, 2 Σ_g p_g² N_g / n², p_g = N_g/N.
std::int64_t noises_a_repeat(const AtomBlocks& blocks, double wanted_error) {
  double variance = 0;
  for (std::int64_t group = 0; group < blocks.groups(); ++group) {
    const auto size = static_cast<double>(blocks.size_of(group));
    const double share = size / static_cast<double>(blocks.atoms());
    variance += 2 * share * share * size;
  }
  const double noises = std::ceil(std::sqrt(variance / static_cast<double>(repeats)) / wanted_error);
  return std::max(fewest_noises, static_cast<std::int64_t>(noises));
}

MassError over_repeats(const std::vector<double>& chi2, std::int64_t noises) {
  const auto count = static_cast<double>(chi2.size());
  double mean = 0, square = 0;
  for (const double one : chi2) mean += one / count;
  for (const double one : chi2) square += (one - mean) * (one - mean);
  return {mean, std::sqrt(square / (count - 1) / count), noises};
}

}  // namespace

PotentialDescent::PotentialDescent(const Atoms& atoms, NumberedNoise noise, const DescentOptions& options)
    : atoms_(atoms), noise_(std::move(noise)), options_(options), potentials_(atoms.zero_column()) {
  if (options.batch < 2 || options.steps < 0) fail("a descent of {} steps of {} noises", options.steps, options.batch);
  const AtomBlocks& blocks = atoms.blocks();
  const at::Tensor norms = atoms.whole(atoms.norms());
  std::vector<double> quantiles;
  for (std::int64_t group = 0; group < blocks.groups(); ++group) {
    const std::int64_t size = blocks.size_of(group);
    const double quantile = largest_normal_of(size);
    const double length = size > 0 ? group_mean(blocks, group, norms) : 0;
    quantiles.push_back(quantile);
    rates_.push_back(options.constant_rate > 0 ? options.constant_rate
                                               : options.rate_factor * length / quantile *
                                                     std::min(stationary_chi2 * static_cast<double>(options.batch),
                                                              0.5 * static_cast<double>(size)));
  }
  for (std::size_t i = 0; i < atoms.own_blocks().size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const auto group = static_cast<std::size_t>(blocks.block(atoms.own_blocks()[i]).group);
    potentials_[row].copy_(atoms.norms()[row] * -quantiles[group]);
  }
  average_ = potentials_.clone();
}

/// How many of a step's noises went to each own atom, in the layout of an own column.
std::vector<double> PotentialDescent::own_counts(std::int64_t first) const {
  const AtomBlocks& blocks = atoms_.blocks();
  std::vector<std::int64_t> row_of_block(static_cast<std::size_t>(blocks.blocks()), -1);
  for (std::size_t i = 0; i < atoms_.own_blocks().size(); ++i)
    row_of_block[static_cast<std::size_t>(atoms_.own_blocks()[i])] = static_cast<std::int64_t>(i);
  std::vector<double> counts(static_cast<std::size_t>(potentials_.numel()), 0);
  for (std::int64_t done = 0; done < options_.batch; done += noises_in_memory) {
    const std::int64_t count = std::min(noises_in_memory, options_.batch - done);
    const at::Tensor chosen = atoms_.choose(noise_(first + done, count), potentials_).atom;
    const std::int64_t* atom = chosen.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < chosen.numel(); ++i) {
      if (atom[i] < 0) continue;
      const std::int64_t block = blocks.block_of(atom[i]), row = row_of_block[static_cast<std::size_t>(block)];
      if (row >= 0) counts[static_cast<std::size_t>(row * atoms_a_block + atom[i] - blocks.block(block).first)] += 1;
    }
  }
  return counts;
}

void PotentialDescent::advance() {
  const AtomBlocks& blocks = atoms_.blocks();
  const std::vector<double> counts = own_counts(step_ * options_.batch);
  const double progress = static_cast<double>(step_) / static_cast<double>(std::max<std::int64_t>(options_.steps, 1));
  const double fall = options_.constant_rate > 0 ? 1 : 0.5 * (1 + std::cos(std::numbers::pi * progress));
  const double newest = std::min(0.01, 5 / static_cast<double>(++step_));
  double* potential = potentials_.mutable_data_ptr<double>();
  double* average = average_.mutable_data_ptr<double>();
  for (std::size_t i = 0; i < atoms_.own_blocks().size(); ++i) {
    const AtomBlocks::Block& block = blocks.block(atoms_.own_blocks()[i]);
    const double rate = rates_[static_cast<std::size_t>(block.group)] * fall;
    const double share = 1 / static_cast<double>(blocks.size_of(block.group));
    const std::size_t first = i * static_cast<std::size_t>(atoms_a_block);
    for (std::size_t at = first; at < first + static_cast<std::size_t>(block.atoms); ++at) {
      potential[at] -= rate * (counts[at] / static_cast<double>(options_.batch) - share);
      average[at] += newest * (potential[at] - average[at]);
    }
  }
}

MassError PotentialDescent::mass_error(double wanted_error) const {
  const AtomBlocks& blocks = atoms_.blocks();
  const std::int64_t noises = noises_a_repeat(blocks, wanted_error);
  std::vector<double> chi2;
  for (std::int64_t repeat = 0; repeat < repeats; ++repeat) {
    std::vector<at::Tensor> chosen;
    for (std::int64_t done = 0; done < noises; done += noises_in_memory) {
      const std::int64_t count = std::min(noises_in_memory, noises - done);
      chosen.push_back(atoms_.choose(noise_(judging_noise + repeat * noises + done, count), average_).atom);
    }
    chi2.push_back(unbiased_chi2(blocks, at::cat(chosen, 1)));
  }
  return over_repeats(chi2, repeats * noises);
}

NamedTensors PotentialDescent::state() const {
  return {{"potentials", atoms_.whole(potentials_)},
          {"average", atoms_.whole(average_)},
          {"step", at::scalar_tensor(step_, at::kLong)}};
}

void PotentialDescent::restore(const NamedTensors& state) {
  const auto column = [&](const char* name) {
    const auto found = state.find(name);
    if (found == state.end() || found->second.sizes() != at::IntArrayRef{atoms_.blocks().atoms()})
      fail("the saved potentials have {} of shape [{}]; expected [{}], one an atom", name,
           found == state.end() ? "" : fmt::format("{}", fmt::join(found->second.sizes(), ", ")),
           atoms_.blocks().atoms());
    return atoms_.own_column(found->second.to(at::kDouble));
  };
  potentials_ = column("potentials");
  average_ = column("average");
  step_ = state.at("step").item<std::int64_t>();
}

std::int64_t descent_steps(const AtomBlocks& blocks, std::int64_t batch, double noises_an_atom) {
  std::int64_t largest = 0;
  for (std::int64_t group = 0; group < blocks.groups(); ++group) largest = std::max(largest, blocks.size_of(group));
  const double steps = std::ceil(noises_an_atom * static_cast<double>(largest) / static_cast<double>(batch));
  return std::max(fewest_steps, static_cast<std::int64_t>(steps));
}

}  // namespace couplet
