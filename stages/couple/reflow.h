// Tables of a student's own flow: fresh noise and the images that it is carried to.
#pragma once

#include "stages/couple/sharded_table.h"

namespace couplet {

/// Pairs (z, x̂) of rectified flow (Liu et al., arXiv 2209.03003): z ~ N(0, I), x̂ its end at t = 0 along the flow of a
/// student's averaged weights, with the label of an image of the data set, so that labels are as frequent as there. x̂
/// is stored as models see images, neither clipped nor rounded to grey values. The noise of a row is a function of the
/// run's seed, the round of reflow and the row.
extern const ShardedTable reflow;

}  // namespace couplet
