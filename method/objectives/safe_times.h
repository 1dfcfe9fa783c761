// How near to the ends of a path a network can be asked for a noise or a score.
#pragma once

#include "method/paths/path.h"

namespace couplet {

/// -α'/α, the rate at which the image fades, is what the error of a noise is multiplied by in the velocity. The last
/// time at which it is at most 200, as far as the path goes: t = 0.995 along the straight path.
double last_time_of_noise(const Path& path);
/// A score is -z/σ. The first time at which σ is at least 0.001, from where the path starts: that of the path vp with
/// its published β; t = 0.001 along the straight path.
double first_time_of_score(const Path& path);

}  // namespace couplet
