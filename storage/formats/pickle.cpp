#include "storage/formats/pickle.h"

#include "storage/error.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace couplet {
namespace {

constexpr int pickle_protocol = 2;

/// Instructions that are not followed. They make objects of classes, or come from other protocols.
constexpr std::array<std::pair<unsigned char, std::string_view>, 38> other_instructions{{
    {'0', "POP"},
    {'1', "POP_MARK"},
    {'2', "DUP"},
    {'B', "BINBYTES"},
    {'C', "SHORT_BINBYTES"},
    {'F', "FLOAT"},
    {'I', "INT"},
    {'L', "LONG"},
    {'P', "PERSID"},
    {'S', "STRING"},
    {'T', "BINSTRING"},
    {'U', "SHORT_BINSTRING"},
    {'V', "UNICODE"},
    {'d', "DICT"},
    {'g', "GET"},
    {'i', "INST"},
    {'l', "LIST"},
    {'o', "OBJ"},
    {'p', "PUT"},
    {0x80, "PROTO"},
    {0x81, "NEWOBJ"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {0x8b, "LONG4"},
    {0x8c, "SHORT_BINUNICODE"},
    {0x8d, "BINUNICODE8"},
    {0x8e, "BINBYTES8"},
    {0x8f, "EMPTY_SET"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {0x92, "NEWOBJ_EX"},
    {0x93, "STACK_GLOBAL"},
    {0x94, "MEMOIZE"},
    {0x95, "FRAME"},
    {0x96, "BYTEARRAY8"},
    {0x97, "NEXT_BUFFER"},
    {0x98, "READONLY_BUFFER"},
}};

/// Follows a pickle's instructions. None of them calls another, however deep values are nested.
class PickleReader {
public:
  PickleReader(const std::string& what, std::string_view program,
               const std::function<void(const std::string&)>& require, std::deque<PickleValue>& values)
      : what_(what), program_(program), require_(require), values_(values) {
    values_.resize(shared_values);
    values_[shared_false].kind = values_[shared_true].kind = PickleValue::Kind::boolean;
    values_[shared_true].integer = 1;
  }

  /// Returns the number of the value that is left.
  std::size_t read() {
    if (program_.size() < 2 || number(1) != 0x80) damaged("it does not begin as a pickle does");
    if (const auto protocol = number(1); protocol != pickle_protocol)
      refuse("{}: is a pickle of protocol {}, where {} is read, which torch.save writes unless it is told otherwise",
             what_, protocol, pickle_protocol);
    for (auto code = byte(); code != '.'; code = byte()) follow(code);
    if (stack_.size() != 1 || !marks_.empty()) damaged("it leaves {} values instead of one", stack_.size());
    if (next_ != program_.size()) damaged("{} bytes follow its end", program_.size() - next_);
    return stack_.front();
  }

private:
  using Kind = PickleValue::Kind;
  static constexpr std::size_t shared_none = 0, shared_false = 1, shared_true = 2, shared_values = 3;

  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: is damaged at byte {}: {}", what_, next_, fmt::format(format, std::forward<Args>(args)...));
  }

  void follow(unsigned char code) {
    switch (code) {
      case 'N':
        return stack_.push_back(shared_none);
      case 0x88:
        return stack_.push_back(shared_true);
      case 0x89:
        return stack_.push_back(shared_false);
      case 'K':
        return push_integer(static_cast<std::int64_t>(number(1)));
      case 'M':
        return push_integer(static_cast<std::int64_t>(number(2)));
      case 'J':
        return push_integer(static_cast<std::int32_t>(number(4)));
      case 0x8a:
        return push_long(number(1));
      case 'G':
        bytes(8);
        return push({.kind = Kind::real});
      case 'X':
        return push_text(bytes(number(4)));
      case 'c':
        return push_name();
      case '(':
        return marks_.push_back(stack_.size());
      case ')':
        return push_tuple(0);
      case 0x85:
      case 0x86:
      case 0x87:
        return push_tuple(code - std::size_t{0x84});
      case 't':
        return push_tuple(above_mark());
      case ']':
        return push({.kind = Kind::list});
      case 'a':
        return add_to_list(1);
      case 'e':
        return add_to_list(above_mark());
      case '}':
        return push({.kind = Kind::dict});
      case 's':
        return add_to_dict(2);
      case 'u':
        return add_to_dict(above_mark());
      case 'q':
        return remember(number(1));
      case 'r':
        return remember(number(4));
      case 'h':
        return recall(number(1));
      case 'j':
        return recall(number(4));
      case 'Q':
        return push({.kind = Kind::persistent, .given = take_one()});
      case 'R':
        return push_call();
      case 'b':
        return pass_over_state();
      default:
        refuse_instruction(code);
    }
  }

  std::string_view bytes(std::uint64_t count) {
    if (count > program_.size() - next_)
      damaged("{} bytes should follow, and there are {}", count, program_.size() - next_);
    next_ += count;
    return program_.substr(next_ - count, count);
  }
  unsigned char byte() { return static_cast<unsigned char>(bytes(1).front()); }
  /// A number of `count` bytes, at most 8, the lowest first.
  std::uint64_t number(std::size_t count) {
    std::uint64_t value = 0;
    const std::string_view text = bytes(count);
    for (std::size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
    return value;
  }

  void push(PickleValue value) {
    values_.push_back(std::move(value));
    stack_.push_back(values_.size() - 1);
  }
  void push_integer(std::int64_t value) { push({.kind = Kind::integer, .integer = value}); }
  /// An integer in two's complement.
  void push_long(std::uint64_t count) {
    if (count > 8) damaged("it has a number of {} bytes", count);
    if (count == 0) return push_integer(0);
    const std::uint64_t low = number(count);
    const auto unused = static_cast<int>(64 - 8 * count);
    push_integer(static_cast<std::int64_t>(low << unused) >> unused);
  }
  void push_text(std::string_view text) {
    PickleValue value{.kind = Kind::text, .text = std::string(text)};
    if (utf8_text(value.text) != value.text) damaged("{} is no UTF-8 text", json_excerpt(utf8_text(value.text)));
    push(std::move(value));
  }
  std::string line() {
    const std::size_t end = program_.find('\n', next_);
    if (end == std::string_view::npos) damaged("it ends within a name");
    const std::string_view text = bytes(end - next_);
    ++next_;
    return std::string(text);
  }
  void push_name() {
    const std::string module = line();
    PickleValue value{.kind = Kind::name, .text = utf8_text(module + "." + line())};
    require_(value.text);
    push(std::move(value));
  }
  void push_tuple(std::size_t count) { push({.kind = Kind::tuple, .items = take(count)}); }

  void push_call() {
    const std::size_t given = take_one(), function = take_one();
    if (values_[function].kind != Kind::name || values_[given].kind != Kind::tuple)
      damaged("it calls something else than a function with its arguments");
    push({.kind = Kind::call, .function = function, .given = given});
  }
  void pass_over_state() {
    take_one();
    PickleValue& made = values_[held()];
    if (made.kind != Kind::call) damaged("it gives a state to something that no call made");
    made.has_state = true;
  }

  void add_to_list(std::size_t count) {
    const std::vector<std::size_t> items = take(count);
    PickleValue& list = values_[held()];
    if (list.kind != Kind::list) damaged("it adds items to something that is no list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }
  void add_to_dict(std::size_t count) {
    const std::vector<std::size_t> items = take(count);
    PickleValue& dict = values_[held()];
    if (dict.kind != Kind::dict && dict.kind != Kind::call) damaged("it adds items to something that is no dict");
    if (count % 2 != 0) damaged("it adds a key without a value to a dict");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  void remember(std::uint64_t place) { memo_[place] = held(); }
  void recall(std::uint64_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) damaged("it asks for value {}, which it has not remembered", place);
    stack_.push_back(found->second);
  }

  /// How many values stand above the last mark, which is taken away.
  std::size_t above_mark() {
    if (marks_.empty()) damaged("it ends a group that it has not begun");
    const std::size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return count;
  }
  /// Takes the uppermost values, which stand above the last mark.
  std::vector<std::size_t> take(std::size_t count) {
    const std::size_t there = stack_.size() - (marks_.empty() ? 0 : marks_.back());
    if (count > there) damaged("it takes {} values, and there are {}", count, there);
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<std::size_t> taken(first, stack_.end());
    stack_.erase(first, stack_.end());
    return taken;
  }
  std::size_t take_one() { return take(1).front(); }
  std::size_t held() const {
    if (stack_.size() == (marks_.empty() ? 0 : marks_.back())) damaged("it uses a value that is not there");
    return stack_.back();
  }

  [[noreturn]] void refuse_instruction(unsigned char code) const {
    const auto* known = std::ranges::find(other_instructions, code, &std::pair<unsigned char, std::string_view>::first);
    if (known == other_instructions.end()) damaged("{:#04x} is no instruction of a pickle", code);
    refuse(
        "{}: has the instruction {} at byte {}, which state dicts do without: it holds more than tensors; save those "
        "alone: torch.save(model.state_dict(), FILE)",
        what_, known->second, next_ - 1);
  }

  const std::string& what_;
  std::string_view program_;
  const std::function<void(const std::string&)>& require_;
  std::deque<PickleValue>& values_;
  std::size_t next_ = 0;
  std::vector<std::size_t> stack_;
  std::vector<std::size_t> marks_;  ///< how many values of the stack stand below each
  std::unordered_map<std::uint64_t, std::size_t> memo_;
};

}  // namespace

Pickle::Pickle(const std::string& what, std::string_view program,
               const std::function<void(const std::string& name)>& require_known) {
  top_ = PickleReader(what, program, require_known, values_).read();
}

}  // namespace couplet
