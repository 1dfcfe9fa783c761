// What this machine is called.
#pragma once

#include <string>

namespace couplet {

/// The host's name as the kernel has it; "unknown" where it has none.
std::string host_name();

}  // namespace couplet
