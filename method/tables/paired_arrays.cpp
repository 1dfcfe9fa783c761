#include "method/tables/paired_arrays.h"

#include "storage/error.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <map>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace couplet {
namespace {

/// What an array is for, and the names that say so, in any case: the first one wins, the others are of equal rank.
struct Role {
  const char* name;
  std::vector<std::string_view> names;
  std::string_view ending;  ///< X.npy is the image of X_noise.npy
};

enum RoleNumber : std::size_t { noise_role, image_role, label_role, roles_count };

const std::array<Role, roles_count>& roles() {
  static const std::array<Role, roles_count> all{{{"noise", {"noise", "z", "z0", "source"}, "_noise"},
                                                  {"image", {"image", "images", "x", "z1", "target"}, ""},
                                                  {"label", {"label", "labels", "y"}, "_label"}}};
  return all;
}

constexpr std::int64_t missing = -1;

/// The arrays of one group, as places among the source's names.
using Group = std::array<std::int64_t, roles_count>;

struct NaturalLess {
  bool operator()(const std::string& a, const std::string& b) const { return natural_less(a, b); }
};
using Groups = std::map<std::string, Group, NaturalLess>;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return lower;
}

/// What the name of an array says.
struct NamedRole {
  std::string group;
  RoleNumber role;
  bool is_first_choice;  ///< no other name of the group can be meant
};

/// All names of a source, and what each says.
class ArrayNames {
public:
  explicit ArrayNames(std::vector<std::string> names)
      : names_(std::move(names)), known_(names_.begin(), names_.end()) {}

  std::size_t size() const { return names_.size(); }
  const std::string& operator[](std::int64_t place) const { return names_[static_cast<std::size_t>(place)]; }

  std::optional<NamedRole> role_of(const std::string& name) const {
    for (const RoleNumber role : {noise_role, label_role}) {
      const std::string_view ending = roles()[role].ending;
      if (name.size() > ending.size() && name.ends_with(ending) && is_stem(name.substr(0, name.size() - ending.size())))
        return NamedRole{name.substr(0, name.size() - ending.size()), role, true};
    }
    if (is_stem(name)) return NamedRole{name, image_role, true};
    const std::size_t slash = name.rfind('/');
    const std::string group = slash == std::string::npos ? "" : name.substr(0, slash);
    const std::string leaf = lower_case(std::string_view(name).substr(slash == std::string::npos ? 0 : slash + 1));
    for (const RoleNumber role : {noise_role, image_role, label_role}) {
      const auto& names = roles()[role].names;
      if (std::ranges::find(names, leaf) != names.end()) return NamedRole{group, role, leaf == names.front()};
    }
    return std::nullopt;
  }

private:
  /// There is X and X_noise.
  bool is_stem(const std::string& name) const {
    return known_.contains(name) && known_.contains(name + std::string(roles()[noise_role].ending));
  }

  std::vector<std::string> names_;
  std::unordered_set<std::string> known_;
};

/// First choices are looked for first: beside them the other names mean something else.
Groups find_groups(const std::string& source, const ArrayNames& names) {
  Groups groups;
  for (const bool first_choices : {true, false})
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(names.size()); ++i) {
      const std::optional<NamedRole> said = names.role_of(names[i]);
      if (!said && names[i].ends_with(roles()[noise_role].ending))
        refuse("{}: '{}' is the noise of an image that is not there", source, names[i]);
      if (!said || said->is_first_choice != first_choices) continue;
      Group& group = groups.try_emplace(said->group, Group{missing, missing, missing}).first->second;
      std::int64_t& place = group[said->role];
      if (place == missing) {
        place = i;
        continue;
      }
      if (const auto other = names.role_of(names[place]); !first_choices && other->is_first_choice) continue;
      refuse("{}: both '{}' and '{}' may be the {}; rename the one that is meant to '{}'", source, names[place],
             names[i], roles()[said->role].name, roles()[said->role].name);
    }
  return groups;
}

/// Arrays of equal type and shape as one, opened one after the other.
class StackedArray : public ForeignArray {
public:
  /// `shape`: that of the whole. `rows`: how many each array has; empty: each is one row itself.
  StackedArray(const std::string& what, NumberType type, const std::vector<std::uint64_t>& shape, ForeignFile& file,
               std::vector<std::string> names, std::vector<std::int64_t> rows)
      : ForeignArray(what, type, shape), file_(file), names_(std::move(names)), rows_(std::move(rows)) {}

private:
  void read_rows(std::int64_t, std::int64_t count, std::span<std::byte> out) override {
    while (count > 0) {
      if (left_ == 0) open_next();
      const std::int64_t rows = std::min(count, left_);
      const std::size_t bytes = static_cast<std::size_t>(rows) * row_bytes();
      if (rows > 0) array_->read_next(rows_.empty() ? array_->rows() : rows, out.first(bytes));
      out = out.subspan(bytes);
      left_ -= rows;
      count -= rows;
    }
  }

  void open_next() {
    const std::string& name = names_.at(next_);
    array_ = file_.open(name);
    left_ = rows_.empty() ? 1 : rows_[next_];
    ++next_;
    std::vector<std::int64_t> expected = shape();
    expected.front() = left_;
    if (rows_.empty() && array_->shape() != expected) expected.erase(expected.begin());
    if (array_->type() != type() || array_->shape() != expected)
      refuse("{}: '{}' is {}; expected {} [{}], which fits to the others and to its noise", what(), name,
             array_->description(), type().name(), fmt::join(expected, ", "));
  }

  ForeignFile& file_;
  std::vector<std::string> names_;
  std::vector<std::int64_t> rows_;
  std::size_t next_ = 0;
  std::unique_ptr<ForeignArray> array_;
  std::int64_t left_ = 0;  ///< rows of it
};

/// `rows`: how many each array has; empty: each is one row itself.
std::unique_ptr<ForeignArray> stack(const std::string& what, ForeignFile& file, std::vector<std::string> names,
                                    std::vector<std::int64_t> rows) {
  const std::unique_ptr<ForeignArray> first = file.open(names.front());
  std::vector<std::uint64_t> shape(first->shape().begin(), first->shape().end());
  // A label that is one row may have an axis of its own.
  const bool has_axis_of_rows = !rows.empty() || shape == std::vector<std::uint64_t>{1};
  if (has_axis_of_rows && shape.empty()) refuse("{}: '{}' is a single number; expected one a row", what, names.front());
  if (!has_axis_of_rows) shape.insert(shape.begin(), 0);
  shape.front() = rows.empty() ? names.size() : std::accumulate(rows.begin(), rows.end(), std::uint64_t{0});
  return std::make_unique<StackedArray>(what, first->type(), shape, file, std::move(names), std::move(rows));
}

class PairFinder {
public:
  PairFinder(const std::string& source, ForeignFile& file) : source_(source), file_(file), names_(file.names()) {
    groups_ = find_groups(source_, names_);
    take_labels_of_all();
    require_whole_groups();
  }

  PairedArrays open() {
    constexpr std::size_t axes_of_one = 3;
    const auto& first = groups_.begin()->second;
    const bool several = groups_.size() > 1;
    std::vector<std::int64_t> rows;
    if (several && file_.open(names_[first[noise_role]])->shape().size() != axes_of_one)
      for (const auto& [name, group] : groups_) rows.push_back(file_.open(names_[group[noise_role]])->rows());
    PairedArrays pairs;
    pairs.noise = open(noise_role, rows);
    pairs.image = open(image_role, rows);
    if (labels_of_all_ != missing)
      pairs.label = file_.open(names_[labels_of_all_]);
    else if (first[label_role] != missing)
      pairs.label = open(label_role, rows);
    add_unread(pairs.notes);
    if (several)
      pairs.notes.push_back(fmt::format("{}: {} pairs of arrays in this order: '{}' to '{}'", source_, groups_.size(),
                                        names_[first[noise_role]], names_[groups_.rbegin()->second[noise_role]]));
    return pairs;
  }

private:
  /// One array of labels beside all groups.
  void take_labels_of_all() {
    const auto has_label = [](const auto& group) { return group.second[label_role] != missing; };
    const auto found = std::ranges::find_if(groups_, [](const auto& group) {
      return group.second[noise_role] == missing && group.second[image_role] == missing;
    });
    if (found == groups_.end() || groups_.size() == 1 || std::ranges::count_if(groups_, has_label) != 1) return;
    labels_of_all_ = found->second[label_role];
    groups_.erase(found);
  }

  void require_whole_groups() const {
    const std::map<std::string, std::string> others = file_.others();
    for (const Role& role : roles())
      if (const auto other = others.find(role.name); other != others.end())
        refuse("{}: '{}' is {}; expected an array", source_, role.name, other->second);
    if (groups_.empty()) refuse_group("", noise_role);
    const bool has_labels = groups_.begin()->second[label_role] != missing;
    for (const auto& [name, group] : groups_) {
      for (const RoleNumber role : {noise_role, image_role})
        if (group[role] == missing) refuse_group(name, role);
      if (has_labels != (group[label_role] != missing))
        refuse("{}: '{}' has {}, unlike '{}'", source_, name, has_labels ? "no label" : "a label",
               groups_.begin()->first);
    }
  }

  [[noreturn]] void refuse_group(const std::string& name, RoleNumber role) const {
    refuse(
        "{}: has no array '{}'{}; expected noise, image and perhaps label, or names that stand for them ({}), found {}",
        source_, roles()[role].name, name.empty() ? " at its top level" : fmt::format(" in or beside '{}'", name),
        "docs/coupling-table.md", contents_text(file_));
  }

  /// What stands in no group is no part of the table; the user may have meant it to be.
  void add_unread(std::vector<std::string>& notes) const {
    constexpr std::size_t most = 5;
    std::vector<std::string> unread;
    std::size_t more = 0;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(names_.size()); ++i) {
      if (names_.role_of(names_[i])) continue;
      if (unread.size() < most)
        unread.push_back(names_[i]);
      else
        ++more;
    }
    if (!unread.empty())
      notes.push_back(fmt::format("{}: not read: {}{}", source_, fmt::join(unread, ", "),
                                  more > 0 ? fmt::format(" and {} more", more) : ""));
  }

  std::unique_ptr<ForeignArray> open(RoleNumber role, const std::vector<std::int64_t>& rows) {
    if (groups_.size() == 1) return file_.open(names_[groups_.begin()->second[role]]);
    std::vector<std::string> names;
    for (const auto& [name, group] : groups_) names.push_back(names_[group[role]]);
    return stack(fmt::format("{}: array '{}'", source_, roles()[role].name), file_, std::move(names), rows);
  }

  std::string source_;
  ForeignFile& file_;
  ArrayNames names_;
  Groups groups_;
  std::int64_t labels_of_all_ = missing;
};

}  // namespace

bool has_pairs_on_top(const ForeignFile& file) {
  const ArrayNames names(file.names());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(names.size()); ++i)
    if (const auto said = names.role_of(names[i]);
        said && said->role != label_role && names[i].find('/') == std::string::npos)
      return true;
  return false;
}

PairedArrays open_paired_arrays(const std::string& source, ForeignFile& file) {
  return PairFinder(source, file).open();
}

}  // namespace couplet
