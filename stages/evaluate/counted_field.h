// A velocity field whose evaluations are counted and whose answers are checked.
#pragma once

#include "stages/evaluate/velocity_field.h"
#include "storage/error.h"

#include <ATen/core/Tensor.h>
#include <fmt/ranges.h>

#include <cstdint>

namespace couplet {

/// Lives no longer than the field. An answer of another shape than the state is an error.
class CountedField {
public:
  explicit CountedField(const VelocityField& field) : field_(field) {}
  at::Tensor operator()(const at::Tensor& x, double t) {
    ++count_;
    at::Tensor velocity = field_(x, t);
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
