#include "method/data/array_names.h"

#include "storage/error.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

namespace couplet {
namespace {

using Words = std::vector<std::string_view>;

const Words image_words{"images", "image", "imgs", "img", "x", "data", "arr_0"};
const Words label_words{"labels", "label", "targets", "target", "class", "y", "arr_1"};
/// What held-out images are called; those of the first word that there are, are taken.
const Words held_out_words{"test", "val", "valid", "validation"};

std::string lowered(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool is_word(const std::string& name, const Words& words) {
  return std::ranges::find(words, name) != words.end();
}

/// "x_train", "train_x", "train/x", "trainx", "train_set_x" of the split "train" and one of the words.
bool is_of_split(const std::string& name, std::string_view split, const Words& words) {
  for (const std::string_view word : words) {
    for (const std::string_view between : {"_", "/", "", "_set_", "-", "."})
      if (name == fmt::format("{}{}{}", split, between, word)) return true;
    for (const std::string_view between : {"_", "", "-", "."})
      if (name == fmt::format("{}{}{}", word, between, split)) return true;
  }
  return false;
}

class NameSearch {
public:
  NameSearch(const ForeignFile& file, const std::string& what)
      : what_(what), contents_(contents_text(file)), names_(file.names()) {}

  const std::string& what() const { return what_; }
  const std::string& contents() const { return contents_; }
  const std::vector<std::string>& names() const { return names_; }

  /// The name that an option gives, which the file has.
  std::string given(const std::string& name, const char* key) const {
    if (std::ranges::find(names_, name) == names_.end())
      refuse("{} = {}: {} has no such array; it has {}", key, name, what_, contents_);
    return name;
  }
  /// The one name of which `is_meant`; "" if there is none.
  template <class IsMeant>
  std::string only(const char* key, IsMeant is_meant) const {
    std::vector<std::string> found;
    for (const std::string& name : names_)
      if (is_meant(lowered(name))) found.push_back(name);
    if (found.size() > 1)
      refuse("{}: {} could each be meant; set {} to one of them", what_, fmt::join(found, ", "), key);
    return found.empty() ? "" : found.front();
  }

private:
  std::string what_, contents_;
  std::vector<std::string> names_;
};

constexpr const char *train_images_key = "prepare.array-train-images", *train_labels_key = "prepare.array-train-labels",
                     *test_images_key = "prepare.array-test-images", *test_labels_key = "prepare.array-test-labels";

std::string named_train_images(const NameSearch& search, const std::string& option) {
  if (!option.empty()) return search.given(option, train_images_key);
  std::string found = search.only(train_images_key, [](const std::string& name) {
    return name == "train" || is_of_split(name, "train", image_words);
  });
  if (found.empty())
    found = search.only(train_images_key, [](const std::string& name) { return is_word(name, image_words); });
  if (found.empty() && search.names().size() == 1) found = search.names().front();
  if (found.empty())
    refuse(
        "{}: none of its arrays has a name that images usually have (images, x_train, train_images, data, arr_0); "
        "set {} to one of: {}",
        search.what(), train_images_key, search.contents());
  return found;
}

std::string named_test_images(const NameSearch& search, const std::string& option) {
  if (!option.empty()) return search.given(option, test_images_key);
  for (const std::string_view split : held_out_words) {
    const std::string found = search.only(test_images_key, [&](const std::string& name) {
      return name == split || is_of_split(name, split, image_words);
    });
    if (!found.empty()) return found;
  }
  return "";
}

/// The labels of a split that one of these words names; without a word, or where no labels have it, those that are
/// named plainly.
std::string labels_by_name(const NameSearch& search, const std::string& option, const char* key, const Words& splits,
                         bool may_be_plain) {
  if (option == "none") return "";
  if (!option.empty()) return search.given(option, key);
  for (const std::string_view split : splits) {
    const std::string found =
        search.only(key, [&](const std::string& name) { return is_of_split(name, split, label_words); });
    if (!found.empty()) return found;
  }
  if (!may_be_plain) return "";
  return search.only(key, [](const std::string& name) { return is_word(name, label_words); });
}

/// Whether labels were missed rather than missing: there are arrays that nothing is known of.
void require_known(const NameSearch& search, const ArrayNames& found) {
  std::vector<std::string> left = search.names();
  std::erase_if(left, [&](const std::string& name) { return name == found.train.images || name == found.test.images; });
  if (!left.empty())
    refuse(
        "{}: no array has a name that labels usually have (labels, y_train, train_labels, targets, arr_1); set {} to "
        "one of: {} — or to none, if the images have no labels",
        search.what(), train_labels_key, fmt::join(left, ", "));
}

}  // namespace

ArrayNames find_array_names(const ForeignFile& file, const std::string& what, const ArrayOptions& options) {
  const NameSearch search(file, what);
  ArrayNames found;
  found.train.images = named_train_images(search, options.train_images);
  found.test.images = named_test_images(search, options.test_images);
  if (found.test.images == found.train.images)
    refuse("{}: the array '{}' cannot be both the images of training and those that are held out; set {}", what,
           found.train.images, options.train_images.empty() ? train_images_key : test_images_key);
  found.train.labels = labels_by_name(search, options.train_labels, train_labels_key, {"train"}, true);
  if (!found.test.images.empty())
    found.test.labels = labels_by_name(search, options.test_labels, test_labels_key, held_out_words, false);
  if (found.train.labels.empty() && options.train_labels.empty()) require_known(search, found);
  if (!found.test.images.empty() && found.train.labels.empty() != found.test.labels.empty())
    refuse(
        "{}: the images '{}' have labels, but '{}' have none: the images of both splits have labels, or of none; set "
        "{} and {}, or both to none",
        what, found.train.labels.empty() ? found.test.images : found.train.images,
        found.train.labels.empty() ? found.train.images : found.test.images, train_labels_key, test_labels_key);
  return found;
}

}  // namespace couplet
