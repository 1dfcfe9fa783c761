// What a user asks of `couplet sample`, checked: whatever does not go together is refused, nothing is ignored.
#pragma once

#include "launch/commands/command_line.h"
#include "stages/trained/sampler.h"

#include <vector>

namespace couplet {

CommandSyntax sample_syntax();

/// What to sample, and how.
SampleRequest parse_sample_request(const CommandLine& line);
/// Keys that flags stand for: device, threads, samples at once, precision.
std::vector<Setting> sample_settings(const CommandLine& line);

}  // namespace couplet
