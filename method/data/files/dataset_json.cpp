#include "method/data/files/dataset_json.h"

#include "storage/archives/file_names.h"
#include "storage/error.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <optional>
#include <utility>

namespace couplet {
namespace {

/// The events of a parser. What is expected follows from how deep they are: the object (1), the list of labels (2), a
/// pair (3). Values under other keys of the object are passed over.
class LabelEvents : public nlohmann::json_sax<nlohmann::json> {
public:
  LabelEvents(const std::string& what, const std::function<void(std::string_view, std::int32_t)>& take)
      : what_(what), take_(take) {}

  bool found() const { return found_; }
  bool has_labels() const { return has_labels_; }

  bool start_object(std::size_t) override {
    if (depth_ > 0) value("an object");
    ++depth_;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (!in_labels_) {
      if (depth_ == 0) refuse_form("a list");
    } else if (depth_ == 1) {
      has_labels_ = true;
    } else if (depth_ == 2) {
      name_.reset();
      label_.reset();
    } else {
      refuse("{}: the label of '{}' is a vector; a label is the number of a class, from 0", what_,
             shown_name(name_.value_or("")));
    }
    ++depth_;
    return true;
  }
  bool end_array() override {
    if (--depth_ == 2 && in_labels_) {
      if (!name_ || !label_) refuse_form("a pair without a name or a label");
      take_(*name_, *label_);
    }
    return true;
  }
  bool key(std::string& key) override {
    if (depth_ == 1) {
      in_labels_ = key == "labels";
      if (in_labels_ && std::exchange(found_, true)) refuse("{}: has two keys 'labels'", what_);
    }
    return true;
  }
  bool null() override {
    if (in_labels_ && depth_ == 1) return true;
    return value("null");
  }
  bool boolean(bool) override { return value("true or false"); }
  bool number_integer(std::int64_t number) override { return number < 0 ? no_class(fmt::format("{}", number)) : true; }
  bool number_unsigned(std::uint64_t number) override {
    if (!in_labels_ || depth_ != 3) return value("a number");
    if (number > std::numeric_limits<std::int32_t>::max()) return no_class(fmt::format("{}", number));
    if (!name_ || label_) refuse_form("a number where a name is expected");
    label_ = static_cast<std::int32_t>(number);
    return true;
  }
  bool number_float(double, const std::string& text) override { return no_class(text); }
  bool string(std::string& text) override {
    if (!in_labels_ || depth_ != 3) return value("a text");
    if (name_)
      refuse("{}: the label of '{}' is a text; a label is the number of a class, from 0", what_, shown_name(*name_));
    name_ = std::move(text);
    return true;
  }
  bool binary(nlohmann::json::binary_t&) override { return value("bytes"); }
  bool parse_error(std::size_t place, const std::string&, const nlohmann::json::exception&) override {
    fail("{}: is no JSON, or cut short: it cannot be read from byte {} on", what_, place);
  }

private:
  [[noreturn]] void refuse_form(const std::string& found) const {
    refuse(
        "{}: has {} where a file of labels has another thing; expected {{\"labels\": [[\"a/1.png\", 6], ...]}}, or "
        "null in place of the list",
        what_, found);
  }
  /// Any other value: passed over outside of the labels.
  bool value(const char* kind) const {
    if (in_labels_ || depth_ == 0) refuse_form(kind);
    return true;
  }
  bool no_class(const std::string& number) const {
    if (!in_labels_ || depth_ != 3) return value("a number");
    refuse("{}: the label of '{}' is {}; a label is the number of a class, from 0 to 2147483647", what_,
           shown_name(name_.value_or("")), shown_name(number));
  }

  const std::string& what_;
  const std::function<void(std::string_view, std::int32_t)>& take_;
  int depth_ = 0;
  bool in_labels_ = false, found_ = false, has_labels_ = false;
  std::optional<std::string> name_;
  std::optional<std::int32_t> label_;
};

}  // namespace

bool read_dataset_json(std::span<const std::byte> text, const std::string& what,
                       const std::function<void(std::string_view name, std::int32_t label)>& take) {
  LabelEvents events(what, take);
  const auto* begin = reinterpret_cast<const char*>(text.data());
  nlohmann::json::sax_parse(begin, begin + text.size(), &events);
  if (!events.found()) refuse("{}: has no key 'labels'; expected a list of them, or null", what);
  return events.has_labels();
}

}  // namespace couplet
