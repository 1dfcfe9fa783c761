// Assignments of minimum cost: which column each row of a square matrix takes, so that the sum is least.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

namespace couplet {

struct Assignment {
  std::vector<std::int32_t> column_of_row;  ///< a permutation of 0 … n - 1
  /// Dual prices v of the columns. With u_i = C_{i,π(i)} - v_π(i), no C_ij - u_i - v_j is negative but for rounding:
  /// that proves the assignment to be one of minimum cost.
  std::vector<double> prices;
  double cost = 0;  ///< Σ_i C_{i,π(i)}
};

/// Solves a dense problem, exactly but for rounding: row i of the matrix is cost[i n] … cost[i n + n - 1], in any unit
/// and of any sign. Entries that are not finite, or beyond ±1e150, are an error that names row and column. The result
/// is a function of the matrix alone: it is computed on one thread, and of equal choices the lowest index is taken.
/// Time grows as n³ at most, whatever the values; memory besides the matrix as n. A request to stop ends it soon, by an
/// error.
///
/// The algorithm is that of Jonker and Volgenant (Computing 38, 1987): column reduction, reduction transfer, augmenting
/// row reduction, and a shortest augmenting path for each row that is left.
Assignment solve_assignment(std::span<const float> cost, std::int64_t n, const std::stop_token& stop = {});
Assignment solve_assignment(std::span<const double> cost, std::int64_t n, const std::stop_token& stop = {});

/// The largest u_i + v_j - C_ij, 0 or more: how far the prices are from proving that the assignment is of minimum cost.
/// What is no permutation is an error.
double largest_violation(std::span<const float> cost, const Assignment& assignment);
double largest_violation(std::span<const double> cost, const Assignment& assignment);

}  // namespace couplet
