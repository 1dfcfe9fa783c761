#include "storage/formats/element_type.h"

#include "storage/error.h"

#include <array>
#include <string>

namespace couplet {
namespace {

struct ElementFacts {
  ElementType type;
  std::string_view name;
  std::size_t size;
};

constexpr std::array<ElementFacts, 7> facts{{
    {ElementType::uint8, "uint8", 1},
    {ElementType::int32, "int32", 4},
    {ElementType::int64, "int64", 8},
    {ElementType::float16, "float16", 2},
    {ElementType::bfloat16, "bfloat16", 2},
    {ElementType::float32, "float32", 4},
    {ElementType::float64, "float64", 8},
}};

const ElementFacts& facts_of(ElementType type) {
  for (const auto& entry : facts) {
    if (entry.type == type) return entry;
  }
  fail("element type {} is none that this program knows", static_cast<int>(type));
}

}  // namespace

std::size_t element_size(ElementType type) {
  return facts_of(type).size;
}

std::string_view element_name(ElementType type) {
  return facts_of(type).name;
}

ElementType parse_element_type(std::string_view name) {
  std::string known;
  for (const auto& entry : facts) {
    if (entry.name == name) return entry.type;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail("'{}' is no element type; there are {}", name, known);
}

}  // namespace couplet
