#include "method/transport/assignment.h"

#include "storage/error.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

namespace couplet {
namespace {

constexpr double unreached = std::numeric_limits<double>::infinity();
constexpr double largest_cost = 1e150;  // sums and differences of all prices stay finite
constexpr std::int32_t unassigned = -1;

// What the solver does with whole rows. Each is a loop that processors do several columns of at once, and gives the
// same bits however many these are: it takes differences and minima only.

struct TwoSmallest {
  double first = unreached, second = unreached;
};

/// The two smallest of c_j - v_j, which may be equal.
template <class Value>
TwoSmallest two_smallest(const Value* c, const double* v, std::size_t n) {
  constexpr std::size_t lanes = 16;
  double first[lanes], second[lanes];
  std::fill_n(first, lanes, unreached);
  std::fill_n(second, lanes, unreached);
  const std::size_t whole = n / lanes * lanes;
  for (std::size_t j = 0; j < whole; j += lanes) {
#pragma omp simd
    for (std::size_t k = 0; k < lanes; ++k) {
      const double value = static_cast<double>(c[j + k]) - v[j + k];
      const double larger = value < first[k] ? first[k] : value;
      second[k] = larger < second[k] ? larger : second[k];
      first[k] = value < first[k] ? value : first[k];
    }
  }
  TwoSmallest all;
  const auto add = [&](double value) {
    all.second = std::min(all.second, std::max(all.first, value));
    all.first = std::min(all.first, value);
  };
  for (std::size_t k = 0; k < lanes; ++k) {
    add(first[k]);
    add(second[k]);
  }
  for (std::size_t j = whole; j < n; ++j) add(static_cast<double>(c[j]) - v[j]);
  return all;
}

/// The first j with c_j - v_j = value; there is one.
template <class Value>
std::size_t first_equal(const Value* c, const double* v, double value) {
  std::size_t j = 0;
  while (static_cast<double>(c[j]) - v[j] != value) ++j;
  return j;
}

/// d_j = min(d_j, c_j - v_j - h), and where that is less than before, `by`_j = row. Returns the smallest d_j.
template <class Value>
double shorten(const Value* c, const double* v, double h, double row, double* d, double* by, std::size_t n) {
  double least = unreached;
#pragma omp simd reduction(min : least)
  for (std::size_t j = 0; j < n; ++j) {
    const double way = static_cast<double>(c[j]) - v[j] - h;
    const bool shorter = way < d[j];
    by[j] = shorter ? row : by[j];
    d[j] = shorter ? way : d[j];
    least = d[j] < least ? d[j] : least;
  }
  return least;
}

/// The smallest rank_j of those with d_j = value; there is one.
double lowest_rank(const double* d, const double* rank, double value, std::size_t n) {
  double lowest = unreached;
#pragma omp simd reduction(min : lowest)
  for (std::size_t j = 0; j < n; ++j) {
    const double mine = d[j] == value ? rank[j] : unreached;
    lowest = mine < lowest ? mine : lowest;
  }
  return lowest;
}

template <class Value>
class AssignmentSolver {
public:
  AssignmentSolver(std::span<const Value> cost, std::size_t n, const std::stop_token& stop)
      : cost_(cost), n_(n), stop_(stop), v_(n, unreached), column_(n, unassigned), row_(n, unassigned) {}

  Assignment solve() {
    reduce_columns();
    transfer_reductions();
    for (int pass = 0; pass < 2; ++pass) reduce_rows();
    augment();
    return result();
  }

private:
  const Value* cost_row(std::size_t i) const { return cost_.data() + i * n_; }
  double cost_at(std::size_t i, std::size_t j) const { return static_cast<double>(cost_row(i)[j]); }

  void go_on() const {
    if (stop_.stop_requested()) fail("an assignment problem of {} rows was left unsolved, as was asked for", n_);
  }

  void assign(std::size_t i, std::size_t j) {
    column_[i] = static_cast<std::int32_t>(j);
    row_[j] = static_cast<std::int32_t>(i);
  }

  void require_usable(std::size_t i) const {
    for (std::size_t j = 0; j < n_; ++j)
      if (!(std::abs(cost_at(i, j)) <= largest_cost))
        fail(
            "the cost of row {} and column {} of an assignment problem of {} rows is {}: it must be finite, and within "
            "±{}",
            i, j, n_, cost_at(i, j), largest_cost);
  }

  /// A column's price becomes its smallest cost. The row of that takes the column, the lowest of several.
  void reduce_columns() {
    std::vector<std::size_t> cheapest(n_, 0);
    for (std::size_t i = 0; i < n_; ++i) {
      go_on();
      require_usable(i);
      const Value* const c = cost_row(i);
      for (std::size_t j = 0; j < n_; ++j) {
        if (static_cast<double>(c[j]) < v_[j]) {
          v_[j] = static_cast<double>(c[j]);
          cheapest[j] = i;
        }
      }
    }
    columns_of_.assign(n_, 0);
    for (std::size_t j = 0; j < n_; ++j)
      if (columns_of_[cheapest[j]]++ == 0) assign(cheapest[j], j);
  }

  /// Lowers the price of a column whose row is the cheapest of no other one, by what the row loses with its second
  /// choice.
  void transfer_reductions() {
    for (std::size_t i = 0; i < n_; ++i) {
      if (columns_of_[i] == 0) free_.push_back(i);
      if (columns_of_[i] != 1 || n_ == 1) continue;
      // The smallest difference is that of the row's own column, 0.
      v_[static_cast<std::size_t>(column_[i])] -= two_smallest(cost_row(i), v_.data(), n_).second;
    }
  }

  /// Each free row takes its first choice and lowers its price to where the second choice is as good; the row that had
  /// it is free and is tried at once. A first choice that another row has and whose price does not fall is left to it.
  /// Prices may fall by less and less, which rounding draws out to no end: so the tries of a pass are counted, and rows
  /// that are left go to the next phase.
  void reduce_rows() {
    std::vector<std::size_t> left;
    std::vector<std::size_t> waiting(free_.rbegin(), free_.rend());
    for (std::size_t tries = 0; !waiting.empty(); ++tries) {
      go_on();
      const std::size_t i = waiting.back();
      waiting.pop_back();
      const Value* const c = cost_row(i);
      const TwoSmallest smallest = two_smallest(c, v_.data(), n_);
      const std::size_t j = first_equal(c, v_.data(), smallest.first);
      const std::int32_t before = row_[j];
      const double price = v_[j] - (smallest.second - smallest.first);
      if (before != unassigned && !(price < v_[j] && tries < 4 * n_)) {
        left.push_back(i);
        continue;
      }
      v_[j] = std::min(v_[j], price);
      assign(i, j);
      if (before == unassigned) continue;
      column_[static_cast<std::size_t>(before)] = unassigned;
      waiting.push_back(static_cast<std::size_t>(before));
    }
    free_ = std::move(left);
  }

  /// Gives every free row a column by a shortest augmenting path (Dijkstra's algorithm over the columns).
  void augment() {
    distance_.resize(n_);
    from_.resize(n_);
    rank_.resize(n_);
    for (std::size_t j = 0; j < n_; ++j) rank_[j] = static_cast<double>(row_[j] == unassigned ? j : n_ + j);
    for (const std::size_t i : free_) {
      go_on();
      const std::size_t end = find_path(i);
      rank_[end] += static_cast<double>(n_);
      for (std::size_t j = end, row = n_; row != i;) {
        row = static_cast<std::size_t>(from_[j]);
        const std::int32_t next = column_[row];
        assign(row, j);
        j = static_cast<std::size_t>(next);
      }
    }
  }

  /// A column that the search has passed: its price before, and its distance.
  struct Passed {
    std::size_t column;
    double price, distance;
  };

  /// The free column that is nearest to a row, and the way to it in `from_`. Of columns at one distance those that are
  /// free come first, then the lowest. A column that was passed has a price of -∞ meanwhile, at which no way to it is
  /// short.
  std::size_t find_path(std::size_t start) {
    std::vector<Passed> passed;
    std::fill(distance_.begin(), distance_.end(), unreached);
    double h = 0;
    std::size_t end = 0;
    for (std::size_t row = start;;) {
      const double least =
          shorten(cost_row(row), v_.data(), h, static_cast<double>(row), distance_.data(), from_.data(), n_);
      const auto rank = static_cast<std::size_t>(lowest_rank(distance_.data(), rank_.data(), least, n_));
      if (rank < n_) {
        end = rank;
        break;
      }
      const std::size_t j = rank - n_;
      row = static_cast<std::size_t>(row_[j]);
      h = cost_at(row, j) - v_[j] - least;
      passed.push_back({j, v_[j], least});
      v_[j] = -unreached;
      distance_[j] = unreached;
    }
    for (const Passed& one : passed) v_[one.column] = one.price + (one.distance - distance_[end]);
    return end;
  }

  Assignment result() {
    Assignment assignment{std::move(column_), std::move(v_), 0};
    for (std::size_t i = 0; i < n_; ++i)
      assignment.cost += cost_at(i, static_cast<std::size_t>(assignment.column_of_row[i]));
    return assignment;
  }

  std::span<const Value> cost_;
  std::size_t n_;
  const std::stop_token& stop_;
  std::vector<double> v_;                   ///< prices of the columns
  std::vector<std::int32_t> column_, row_;  ///< of each row, and of each column
  std::vector<std::size_t> columns_of_;     ///< of how many columns a row is the cheapest
  std::vector<std::size_t> free_;           ///< rows that have no column, in the order in which they are tried
  std::vector<double> distance_, from_;     ///< of each column: from the row whose path is sought; the row before it
  std::vector<double> rank_;                ///< of each column: its number, and n more where it has a row
};

template <class Value>
Assignment solve_dense(std::span<const Value> cost, std::int64_t n, const std::stop_token& stop) {
  if (n < 0 || std::ssize(cost) != n * n) fail("an assignment problem of {} rows has {} costs", n, cost.size());
  return AssignmentSolver<Value>(cost, static_cast<std::size_t>(n), stop).solve();
}

template <class Value>
double violation(std::span<const Value> cost, const Assignment& assignment) {
  const auto n = assignment.column_of_row.size();
  std::vector<bool> taken(n, false);
  double largest = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto column = static_cast<std::size_t>(assignment.column_of_row[i]);
    if (column >= n || taken[column]) fail("row {} of an assignment takes column {}, as another does", i, column);
    taken[column] = true;
    const Value* const c = cost.data() + i * n;
    const double u = static_cast<double>(c[column]) - assignment.prices[column];
    for (std::size_t j = 0; j < n; ++j)
      largest = std::max(largest, u + assignment.prices[j] - static_cast<double>(c[j]));
  }
  return largest;
}

}  // namespace

Assignment solve_assignment(std::span<const float> cost, std::int64_t n, const std::stop_token& stop) {
  return solve_dense(cost, n, stop);
}
Assignment solve_assignment(std::span<const double> cost, std::int64_t n, const std::stop_token& stop) {
  return solve_dense(cost, n, stop);
}

double largest_violation(std::span<const float> cost, const Assignment& assignment) {
  return violation(cost, assignment);
}
double largest_violation(std::span<const double> cost, const Assignment& assignment) {
  return violation(cost, assignment);
}

}  // namespace couplet
