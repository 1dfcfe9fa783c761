#include "method/data/file_splits.h"

#include "method/data/selected_images.h"
#include "storage/error.h"
#include "storage/text.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace couplet {

std::vector<std::int64_t> FileSplits::files() const {
  std::vector<std::int64_t> all;
  for (const LabelledFiles& split : splits) all.insert(all.end(), split.files.begin(), split.files.end());
  return all;
}

FileSplits find_file_splits(const FileSet& files, const std::vector<std::int64_t>& rows,
                            const SplitFolderOptions& options) {
  FileSplits found{.folders = find_split_folders(files, rows, options), .splits = {}};
  const SplitFolders& folders = found.folders;
  found.splits.push_back({folders.train, images_inside(files, rows, folders.train)});
  if (folders.are_named()) found.splits.push_back({folders.test, images_inside(files, rows, folders.test)});
  found.left_aside = std::ssize(rows) - std::ssize(found.files());
  return found;
}

void set_splits(ImageSource& source, const FileSet& files, FileSplits splits, FileLabels labels,
                const HeldOutOptions& held_out, const ImagesOfFiles& images) {
  source.classes = labels.classes;
  source.class_names = labels.class_names;
  labels.splits.resize(splits.splits.size());
  if (splits.left_aside > 0)
    source.notes.push_back(fmt::format("left aside: {} images in neither of the two folders", splits.left_aside));
  const auto made = [&](std::size_t split, const std::string& part) {
    return images(part, std::move(splits.splits[split].files), std::move(labels.splits[split]));
  };
  if (const SplitFolders& folders = splits.folders; folders.are_named()) {
    source.notes.push_back(fmt::format("splits: {} and {}", shown_name(folders.train), shown_name(folders.test)));
    source.train = made(0, folders.train);
    source.test = made(1, folders.test);
    return;
  }
  if (splits.splits.front().files.size() == 1)
    refuse("{}: holds one image, of which none can be held out", utf8_text(files.path().string()));
  ImageSource parts = held_out_source(made(0, ""), source.classes, held_out);
  source.train = std::move(parts.train);
  source.test = std::move(parts.test);
  source.notes.insert(source.notes.end(), parts.notes.begin(), parts.notes.end());
  source.provenance.update(parts.provenance);
}

}  // namespace couplet
