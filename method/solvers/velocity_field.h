// The field whose paths lead from noise to data, and one whose evaluations are counted and whose answers are checked.
#pragma once

#include "pipeline/liveness/activity.h"
#include "storage/error.h"

#include <ATen/core/Tensor.h>
#include <fmt/ranges.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

namespace couplet {

class VelocityField;

/// A function of (x, t), or of (x, t, span), that is no VelocityField already.
template <class Function, class... Span>
concept VelocityFunction = !std::same_as<Function, VelocityField> &&
                           std::is_invocable_r_v<at::Tensor, const Function&, const at::Tensor&, double, Span...>;

/// dx/dt at (x, t): a tensor of x's shape (converted to x's type where a network answers in another). x is [rows, ...];
/// t is the same for all rows. A field that knows its flow map gives the mean velocity of the path through (x, t) from
/// t - span to t where a span is asked for; any other gives the velocity.
class VelocityField {
public:
  VelocityField() = default;
  template <VelocityFunction<double> Function>
  VelocityField(Function function) : function_(std::move(function)) {}
  template <VelocityFunction Function>
  VelocityField(Function function)
      : function_([of = std::move(function)](const at::Tensor& x, double t, double) { return of(x, t); }) {}

  at::Tensor operator()(const at::Tensor& x, double t, double span = 0) const { return function_(x, t, span); }

private:
  std::function<at::Tensor(const at::Tensor& x, double t, double span)> function_;
};

/// Lives no longer than the field. An answer of another shape than the state is an error.
class CountedField {
public:
  explicit CountedField(const VelocityField& field) : field_(field) {}
  at::Tensor operator()(const at::Tensor& x, double t, double span = 0) {
    note_progress();  // a slice of rows may take longer than other ranks wait for one that gives no sign
    ++count_;
    at::Tensor velocity = field_(x, t, span);
    if (velocity.sizes() != x.sizes()) {
      fail("the velocity field answered shape {} for a state of shape {} at t = {}", fmt::join(velocity.sizes(), "x"),
           fmt::join(x.sizes(), "x"), t);
    }
    return velocity.to(x.scalar_type());
  }
  std::int64_t count() const { return count_; }

private:
  const VelocityField& field_;
  std::int64_t count_ = 0;
};

}  // namespace couplet
