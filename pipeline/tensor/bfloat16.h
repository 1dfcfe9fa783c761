// bfloat16 as passes over memory see it.
#pragma once

#include <cstdint>

namespace couplet {

/// bfloat16, as its bits.
enum class Bfloat16 : std::uint16_t {};

}  // namespace couplet
