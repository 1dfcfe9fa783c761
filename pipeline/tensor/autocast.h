// Mixed precision for a scope.
#pragma once

#include <ATen/autocast_mode.h>
#include <c10/core/Device.h>

#include <string>

namespace couplet {

/// While it lives, matrix products of this thread run in bfloat16 if `precision` is "bfloat16"; "float32" changes
/// nothing. Weights stay float32.
class Autocast {
public:
  Autocast(const std::string& precision, c10::Device device) : type_(device.type()), enabled_(precision == "bfloat16") {
    if (!enabled_) return;
    was_enabled_ = at::autocast::is_autocast_enabled(type_);
    at::autocast::set_autocast_dtype(type_, at::kBFloat16);
    at::autocast::set_autocast_enabled(type_, true);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!enabled_) return;
    // The cache holds bfloat16 copies of weights: stale after the next optimizer step.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, was_enabled_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

private:
  c10::DeviceType type_;
  bool enabled_, was_enabled_ = false;
};

/// While it lives, autocast keeps none of the weights that this thread casts. The threads share what is kept, which
/// does not tell a cast that records gradients from one that does not: passes without gradients leave none to the
/// others.
class UncachedAutocast {
public:
  UncachedAutocast() { at::autocast::set_autocast_cache_enabled(false); }
  ~UncachedAutocast() { at::autocast::set_autocast_cache_enabled(was_cached_); }
  UncachedAutocast(const UncachedAutocast&) = delete;
  UncachedAutocast& operator=(const UncachedAutocast&) = delete;

private:
  bool was_cached_ = at::autocast::is_autocast_cache_enabled();
};

}  // namespace couplet
