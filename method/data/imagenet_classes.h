// The 1000 classes of ImageNet (ILSVRC 2012) in their two orders: the development kit's, in which the released batches
// of 32 and 64 pixels number them, and that of the sorted WordNet identifiers, in which folders of images have them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

inline constexpr std::int32_t imagenet_class_count = 1000;

/// The WordNet identifier of a class of the development kit's order, counted from 0: "n02119789", the kit fox, of 0.
std::string imagenet_wnid(std::int32_t devkit_class);
/// The place of each class of the development kit's order among the sorted identifiers.
std::vector<std::int32_t> imagenet_sorted_classes();

}  // namespace couplet
