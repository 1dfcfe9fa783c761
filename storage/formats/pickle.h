// What a pickle of Python says (docs.python.org/3/library/pickletools), protocol 2, without any of it being done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// A value that a pickle describes. What the pickle would have Python import and call stands here as a name and a call
/// of it: nothing is imported, and nothing called.
struct PickleValue {
  enum class Kind : std::uint8_t { none, boolean, integer, real, text, tuple, list, dict, name, call, persistent };

  Kind kind = Kind::none;
  bool has_state = false;    ///< of a call: what it makes is given a state (BUILD), which is passed over
  std::int64_t integer = 0;  ///< also of a boolean
  std::string text = {};     ///< of a text, which is UTF-8, and of a name: "collections.OrderedDict"
  std::size_t function = 0;  ///< of a call: its name
  std::size_t given = 0;     ///< of a call: the tuple of its arguments; of a persistent id: what it is
  /// Of a tuple and a list; of a dict, and of a call that makes one, keys and values in turn.
  std::vector<std::size_t> items = {};
};

/// The values of a pickle, which name each other by their numbers. A list or a dict may hold itself; what a tuple or a
/// call is made of has a smaller number than it.
class Pickle {
public:
  /// Reads a pickle, of which `what` says in messages where it stands; `require_known` is given every name that the
  /// pickle imports, and refuses what it does not take. Instructions that state dicts do without are refused by their
  /// names; a damaged pickle is an error that names the byte. Memory is bounded by some 100 times the pickle's bytes.
  Pickle(const std::string& what, std::string_view program,
         const std::function<void(const std::string& name)>& require_known);

  /// The value that the pickle is of.
  const PickleValue& top() const { return values_[top_]; }
  const PickleValue& operator[](std::size_t number) const { return values_[number]; }

private:
  std::deque<PickleValue> values_;
  std::size_t top_ = 0;
};

}  // namespace couplet
