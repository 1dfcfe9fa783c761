#include "method/data/files/split_folders.h"

#include "storage/error.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>

namespace couplet {
namespace {

constexpr std::string_view train_name = "train", no_folders = "none";
constexpr std::array<std::string_view, 3> held_out_names{"test", "val", "validation"};

/// How many images lie in each folder of the set itself; those in none count under "".
std::map<std::string, std::int64_t> images_by_folder(const FileSet& files, const std::vector<std::int64_t>& images) {
  std::map<std::string, std::int64_t> counts;
  for (const std::int64_t image : images) {
    const std::string name = files.name(image);
    const std::size_t end = name.find('/');
    ++counts[end == std::string::npos ? "" : name.substr(0, end)];
  }
  return counts;
}

SplitFolders found_by_name(const FileSet& files, const std::map<std::string, std::int64_t>& counts) {
  const std::string what = utf8_text(files.path().string());
  const std::string train(train_name);
  if (!counts.contains(train)) return {};
  std::vector<std::string> held_out, others;
  for (const auto& [folder, count] : counts) {
    if (folder == train) continue;
    const bool known = std::ranges::find(held_out_names, folder) != held_out_names.end();
    (known ? held_out : others).push_back(folder.empty() ? "no folder" : shown_name(folder));
  }
  constexpr std::string_view advice =
      "name the two that are meant (prepare.train-folder, prepare.test-folder), or set prepare.train-folder = none if "
      "they are classes";
  if (held_out.size() > 1)
    refuse("{}: has images in {} beside {}, any of which may be held out; {}", what, fmt::join(held_out, " and "),
           train, advice);
  if (held_out.empty()) return others.empty() ? SplitFolders{train, train} : SplitFolders{};
  if (!others.empty())
    refuse(
        "{}: has images in {} and {}, but also in {}{}; {}", what, train, held_out.front(),
        fmt::join(std::vector(others.begin(), others.begin() + std::min<std::ptrdiff_t>(std::ssize(others), 3)), ", "),
        others.size() > 3 ? ", ..." : "", advice);
  return {train, held_out.front()};
}

}  // namespace

SplitFolders find_split_folders(const FileSet& files, const std::vector<std::int64_t>& images,
                                const SplitFolderOptions& options) {
  if (options.train == no_folders) {
    if (!options.test.empty())
      refuse("prepare.train-folder = none, but prepare.test-folder = {}: name both folders, or none", options.test);
    return {};
  }
  if (options.train.empty() != options.test.empty())
    refuse("prepare.train-folder = {}, prepare.test-folder = {}: name both folders, or none", options.train,
           options.test);
  if (options.train.empty()) return found_by_name(files, images_by_folder(files, images));
  const auto trimmed = [](std::string folder) {
    while (folder.ends_with('/')) folder.pop_back();
    return folder;
  };
  const SplitFolders named{trimmed(options.train), trimmed(options.test)};
  if (named.train == named.test || named.test.starts_with(named.train + "/") ||
      named.train.starts_with(named.test + "/"))
    refuse("prepare.train-folder = {}, prepare.test-folder = {}: one of them lies in the other", options.train,
           options.test);
  for (const auto& [key, folder] : {std::pair("train", named.train), std::pair("test", named.test)})
    if (images_inside(files, images, folder).empty())
      refuse("prepare.{}-folder = {}: no image lies there in {}", key, folder, utf8_text(files.path().string()));
  return named;
}

std::vector<std::int64_t> images_inside(const FileSet& files, const std::vector<std::int64_t>& images,
                                        const std::string& folder) {
  if (folder.empty()) return images;
  const std::string inside = folder + "/";
  // They stand together, whatever lies around them.
  const auto first = std::ranges::lower_bound(images, files.lower_bound(inside));
  auto end = first;
  while (end != images.end() && files.name(*end).starts_with(inside)) ++end;
  return {first, end};
}

}  // namespace couplet
