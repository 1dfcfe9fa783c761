// Some images of a source, and the two splits of a source that comes as one.
#pragma once

#include "method/data/held_out_split.h"
#include "method/data/image_source.h"

#include <memory>
#include <string>
#include <vector>

namespace couplet {

/// Splits the images of a data set that comes as one: into those of training and a share of each class that is held
/// out. `classes` and `class_names` are the source's. What is read, and what is hashed, is shared by the two.
ImageSource held_out_source(std::unique_ptr<SourceImages> all, std::int64_t classes, const HeldOutOptions& options,
                            std::vector<std::string> class_names = {});

}  // namespace couplet
