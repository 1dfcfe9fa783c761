// Classes that a data set counts and has no images of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// What a user is to know of classes without training images, by the training and the test images of each class: which
/// they are, and which of them test images have. "" where there are none.
std::string class_gaps(const std::vector<std::int64_t>& train, const std::vector<std::int64_t>& test);

}  // namespace couplet
