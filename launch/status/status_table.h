// The table that `couplet status` prints.
#pragma once

#include "launch/status/run_status.h"

#include <cstddef>
#include <string>

namespace couplet {

/// Returns a table with a line for each stage, and below it what an unfinished stage says or why it stopped. It has
/// columns only for what is known of some stage. Lines are at most `width` characters long where that is possible:
/// messages are cut, and those of stages that stopped go on in the next line.
std::string status_table(const RunStatus& run, std::size_t width);
/// "3 of 10 stages complete, 2 running, 1 failed"
std::string status_summary(const RunStatus& run);

/// Returns the number of columns of the terminal that stdout is, or `otherwise` if it is none.
std::size_t terminal_width(std::size_t otherwise);

}  // namespace couplet
