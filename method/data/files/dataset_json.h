// Labels in the form of EDM's dataset_tool.py (github.com/NVlabs/edm): {"labels": [["00000/img00000000.png", 6], ...]}.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace couplet {

/// Hands each name and its class to `take`, in the file's order, while it reads: the file is never held as a tree.
/// Returns false if it says that there are no labels. `what` names the file in errors: text that is no JSON, or of
/// another form; labels that are no integers from 0 to 2^31 - 1, such as the vectors that the form also allows.
bool read_dataset_json(std::span<const std::byte> text, const std::string& what,
                       const std::function<void(std::string_view name, std::int32_t label)>& take);

}  // namespace couplet
