// The element types that our files hold, with their names in HDF5 columns and safetensors headers.
#pragma once

#include <cstddef>
#include <string_view>

namespace couplet {

enum class ElementType { uint8, int32, int64, float16, bfloat16, float32, float64 };

std::size_t element_size(ElementType type);
/// "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64".
std::string_view element_name(ElementType type);
/// The inverse of element_name; an error names the text.
ElementType parse_element_type(std::string_view name);

}  // namespace couplet
