// The labels that stand beside samples in an .npz file.
#pragma once

#include <filesystem>

namespace couplet {

/// True where `samples` is an .npz file with integer labels (arr_1, as ADM's samplers write them) of two classes or
/// more, which come in the order of their classes. Errors are those of a damaged file.
bool has_sorted_labels(const std::filesystem::path& samples);

}  // namespace couplet
