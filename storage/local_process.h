// Whether a process of this machine is still at work.
#pragma once

#include <cstdint>

namespace couplet {

/// False if no process of this machine has this number, or only one that has ended and that its parent has not asked
/// after yet: a container whose first process asks after nobody keeps those for ever.
bool process_runs(std::int64_t process);

}  // namespace couplet
