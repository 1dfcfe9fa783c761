#include "method/data/files/labels.h"

#include "method/data/files/dataset_json.h"
#include "method/registry.h"
#include "storage/error.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace couplet {
namespace {

constexpr std::int32_t unlabelled = -1;
constexpr std::string_view dataset_json = "dataset.json", class_suffix = ".cls", json_suffix = ".json";

/// "train/" before the names of what lies in that folder.
std::string inside(const std::string& folder) {
  return folder.empty() ? "" : folder + "/";
}

std::string_view last_component(std::string_view name) {
  return name.substr(name.rfind('/') + 1);  // npos + 1 is 0
}

/// Images that a rule gives no label.
class Unlabelled {
public:
  explicit Unlabelled(const FileSet& files) : files_(files) {}
  void add(std::int64_t file) {
    if (count_++ == 0) first_ = file;
  }
  /// Refuses them. `why` they have none: "are not named in dataset.json".
  void require_none(std::int64_t images, const std::string& why) const {
    if (count_ > 0)
      refuse("{}: {} of {} images {}, the first is {}; prepare.labels says where labels come from, or none",
             utf8_text(files_.path().string()), count_, images, why, shown_name(files_.name(first_)));
  }

private:
  const FileSet& files_;
  std::int64_t count_ = 0, first_ = 0;
};

std::int64_t images_in(const std::vector<LabelledFiles>& splits) {
  std::int64_t images = 0;
  for (const LabelledFiles& split : splits) images += std::ssize(split.files);
  return images;
}

/// Classes that are numbers in files: as many as the largest needs.
FileLabels numbered_labels(const char* rule, std::vector<std::vector<std::int32_t>> splits) {
  FileLabels labels{.rule = rule, .splits = std::move(splits)};
  for (const auto& split : labels.splits)
    for (const std::int32_t label : split) labels.classes = std::max(labels.classes, std::int64_t{label} + 1);
  return labels;
}

/// Classes by name, which `class_of` finds for a file of a split: in the order of their bytes.
FileLabels named_labels(const char* rule, const FileSet& files, const std::vector<LabelledFiles>& splits,
                        const std::function<std::string(const std::string& name)>& class_of, const char* why_none) {
  std::map<std::string, std::int32_t> classes;
  Unlabelled missing(files);
  std::vector<std::vector<std::int32_t>> found;
  // First the classes in the order in which they are met, then in that of their names.
  for (const LabelledFiles& split : splits) {
    std::vector<std::int32_t>& labels = found.emplace_back();
    labels.reserve(split.files.size());
    for (const std::int64_t file : split.files) {
      const std::string name = class_of(files.name(file).substr(inside(split.folder).size()));
      if (name.empty()) missing.add(file);
      labels.push_back(classes.emplace(name, static_cast<std::int32_t>(classes.size())).first->second);
    }
  }
  missing.require_none(images_in(splits), why_none);
  FileLabels labels{.rule = rule, .classes = std::ssize(classes), .splits = std::move(found)};
  std::vector<std::int32_t> place(classes.size());
  for (const auto& [name, met] : classes) {
    place[static_cast<std::size_t>(met)] = static_cast<std::int32_t>(labels.class_names.size());
    labels.class_names.push_back(name);
  }
  for (auto& split : labels.splits)
    for (std::int32_t& label : split) label = place[static_cast<std::size_t>(label)];
  return labels;
}

std::string folder_class(const std::string& name) {
  const std::size_t end = name.find('/');
  return end == std::string::npos ? "" : name.substr(0, end);
}

std::string prefix_class(const std::string& name) {
  const std::string_view last = last_component(name);
  const std::size_t end = last.find('_');
  return end == std::string_view::npos ? "" : std::string(last.substr(0, end));
}

/// Refuses folders that would be classes, but hold no image.
void require_images_in_folders(const FileSet& files, const std::vector<LabelledFiles>& splits) {
  for (const LabelledFiles& split : splits) {
    const std::string before = inside(split.folder);
    std::set<std::string> with_images, all;
    for (const std::int64_t file : split.files)
      with_images.insert(folder_class(files.name(file).substr(before.size())));
    for (std::int64_t i = files.lower_bound(before); i < files.count(); ++i) {
      const std::string name = files.name(i);
      if (!name.starts_with(before)) break;
      if (std::string folder = folder_class(name.substr(before.size())); !folder.empty()) all.insert(std::move(folder));
    }
    for (const std::string& empty : files.empty_folders())
      if (empty.starts_with(before) && empty.size() > before.size())
        all.insert(folder_class(empty.substr(before.size()) + "/"));
    for (const std::string& folder : all)
      if (!with_images.contains(folder))
        refuse("{}: the folder {} of a class holds no image; fill it or remove it", utf8_text(files.path().string()),
               shown_name(before + folder));
  }
}

/// Classes that a dataset.json gives. `place` is that of the file, which lies in `folder`; labels are set for images of
/// the split. Returns false if it says that there are none.
bool read_split_json(const FileSet& files, std::int64_t place, const std::string& folder, const LabelledFiles& split,
                     std::vector<std::int32_t>& labels) {
  const std::string what = files.shown(place);
  return read_dataset_json(files.read(place), what, [&](std::string_view name, std::int32_t label) {
    const auto file = files.find(inside(folder) + std::string(name));
    if (!file) return;  // the part of a data set that is not here
    const auto found = std::ranges::lower_bound(split.files, *file);
    if (found == split.files.end() || *found != *file) return;
    std::int32_t& known = labels[static_cast<std::size_t>(found - split.files.begin())];
    if (known != unlabelled && known != label)
      refuse("{}: gives {} the labels {} and {}", what, shown_name(name), known, label);
    known = label;
  });
}

/// The dataset.json of a split, and the folder in which it lies.
std::optional<std::pair<std::int64_t, std::string>> find_dataset_json(const FileSet& files,
                                                                      const LabelledFiles& split) {
  for (const std::string& folder : {split.folder, std::string()})
    if (const auto place = files.find(inside(folder) + std::string(dataset_json))) return std::pair(*place, folder);
  return std::nullopt;
}

FileLabels labels_of_json(const FileSet& files, const std::vector<LabelledFiles>& splits) {
  Unlabelled missing(files);
  std::vector<std::vector<std::int32_t>> found;
  std::size_t without = 0;
  for (const LabelledFiles& split : splits) {
    const auto place = find_dataset_json(files, split);
    if (!place) refuse("{}: there is no {}{}", utf8_text(files.path().string()), inside(split.folder), dataset_json);
    std::vector<std::int32_t>& labels = found.emplace_back(split.files.size(), unlabelled);
    if (!read_split_json(files, place->first, place->second, split, labels)) {
      ++without;
      continue;
    }
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (labels[i] == unlabelled) missing.add(split.files[i]);
  }
  missing.require_none(images_in(splits), fmt::format("are not named in {}", dataset_json));
  if (without > 0 && without < splits.size())
    refuse("{}: only some of the files {} have labels: all splits do, or none", utf8_text(files.path().string()),
           dataset_json);
  return without > 0 ? FileLabels{.rule = std::string(dataset_json)}
                     : numbered_labels("dataset.json", std::move(found));
}

/// The file beside an image that shares its name up to the first dot, and goes on so.
std::optional<std::int64_t> file_beside(const FileSet& files, std::int64_t image, std::string_view suffix) {
  const std::string name = files.name(image);
  const std::size_t start = name.rfind('/') + 1;
  const std::string wanted = name.substr(0, name.find('.', start)).append(suffix);
  // Such files stand together, since nothing but the rest of their names tells them apart.
  const std::string shared = wanted.substr(0, wanted.size() - suffix.size()) + ".";
  for (const std::int64_t step : {-1, 1})
    for (std::int64_t i = image + step; i >= 0 && i < files.count(); i += step) {
      const std::string other = files.name(i);
      if (!other.starts_with(shared)) break;
      if (other == wanted) return i;
    }
  return std::nullopt;
}

std::int32_t class_number(const FileSet& files, std::int64_t file, std::optional<std::int64_t> number,
                          std::string_view text) {
  if (!number || *number < 0 || *number > std::numeric_limits<std::int32_t>::max())
    refuse("{}: holds the label {}; a label is the number of a class, from 0 to 2147483647", files.shown(file),
           shown_name(text));
  return static_cast<std::int32_t>(*number);
}

/// The number that a .cls file is, with white space behind it.
std::int32_t label_of_cls(const FileSet& files, std::int64_t file) {
  constexpr std::uint64_t most_digits = 64;
  if (files.size(file) > most_digits) class_number(files, file, std::nullopt, "of more than 64 bytes");
  const std::vector<std::byte> bytes = files.read(file);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!text.empty() && std::string_view(" \t\r\n").find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !text.empty();
  return class_number(files, file, whole ? std::optional(number) : std::nullopt, text);
}

/// The label under one of the keys of a .json file; nothing where there is none.
std::optional<std::int32_t> label_of_json(const FileSet& files, std::int64_t file) {
  constexpr std::uint64_t most_bytes = std::uint64_t{1} << 20;
  if (files.size(file) > most_bytes) return std::nullopt;
  const std::vector<std::byte> bytes = files.read(file);
  const nlohmann::json about =
      parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, files.shown(file));
  if (!about.is_object()) return std::nullopt;
  for (const char* key : {"cls", "label"})
    if (const auto found = about.find(key); found != about.end())
      return class_number(files, file, json_as<std::int64_t>(*found), json_excerpt(*found));
  return std::nullopt;
}

std::optional<std::int32_t> label_beside(const FileSet& files, std::int64_t image) {
  if (const auto file = file_beside(files, image, class_suffix)) return label_of_cls(files, *file);
  if (const auto file = file_beside(files, image, json_suffix)) return label_of_json(files, *file);
  return std::nullopt;
}

FileLabels labels_beside(const FileSet& files, const std::vector<LabelledFiles>& splits) {
  Unlabelled missing(files);
  std::vector<std::vector<std::int32_t>> found;
  for (const LabelledFiles& split : splits) {
    std::vector<std::int32_t>& labels = found.emplace_back();
    labels.reserve(split.files.size());
    for (const std::int64_t image : split.files) {
      labels.push_back(label_beside(files, image).value_or(unlabelled));
      if (labels.back() == unlabelled) missing.add(image);
    }
  }
  missing.require_none(images_in(splits), "have no .cls file beside them, nor a .json file with the key cls or label");
  return numbered_labels("webdataset", std::move(found));
}

FileLabels labels_by_folder(const FileSet& files, const std::vector<LabelledFiles>& splits) {
  require_images_in_folders(files, splits);
  return named_labels("directory", files, splits, folder_class, "lie in no folder of a class");
}

bool has_class_files(const FileSet& files) {
  for (std::int64_t i = 0; i < files.count(); ++i)
    if (files.name(i).ends_with(class_suffix)) return true;
  return false;
}

/// What auto takes.
std::string found_rule(const FileSet& files, const std::vector<LabelledFiles>& splits) {
  const auto any_split = [&](auto holds) { return std::ranges::any_of(splits, holds); };
  if (any_split([&](const LabelledFiles& split) { return find_dataset_json(files, split).has_value(); }))
    return "dataset.json";
  if (has_class_files(files) || any_split([&](const LabelledFiles& split) {
        return !split.files.empty() && label_beside(files, split.files.front()).has_value();
      }))
    return "webdataset";
  std::set<std::string> folders;
  for (const LabelledFiles& split : splits)
    for (const std::int64_t file : split.files) {
      folders.insert(folder_class(files.name(file).substr(inside(split.folder).size())));
      if (folders.size() > 1) return "directory";
    }
  return "none";
}

}  // namespace

std::string FileLabels::text() const {
  if (classes == 0) return rule == "none" ? "no labels" : fmt::format("no labels, as {} says", rule);
  return fmt::format("labels by {}: {} classes", rule, classes);
}

const std::vector<LabelRule>& label_rules() {
  static const std::vector<LabelRule> rules{
      {"auto", "what is there: dataset.json, files beside images (webdataset), folders (directory), or none"},
      {"dataset.json", "the file of that name, as EDM's dataset_tool.py writes it"},
      {"webdataset", "a file .cls beside each image, or the key cls or label of a file .json"},
      {"directory", "the folder in which an image lies, as torchvision's ImageFolder has it"},
      {"prefix", "the file's name up to the first '_', as guided-diffusion has it"},
      {"none", "images have no labels"}};
  return rules;
}

FileLabels read_labels(const FileSet& files, const std::vector<LabelledFiles>& splits, const std::string& rule) {
  const std::string name = find_kind(label_rules(), rule, "rule of labels").name;
  const std::string taken = name == "auto" ? found_rule(files, splits) : name;
  if (taken == "dataset.json") return labels_of_json(files, splits);
  if (taken == "webdataset") return labels_beside(files, splits);
  if (taken == "directory") return labels_by_folder(files, splits);
  if (taken == "prefix")
    return named_labels("prefix", files, splits, prefix_class,
                        "have no '_' in their names, before which the class stands");
  return {.rule = "none"};
}

}  // namespace couplet
