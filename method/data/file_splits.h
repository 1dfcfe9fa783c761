// Files of a set as the splits of a data set: which are trained on, which are held out, and their classes.
#pragma once

#include "method/data/files/labels.h"
#include "method/data/files/split_folders.h"
#include "method/data/image_source.h"
#include "storage/archives/file_set.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace couplet {

struct FileSplits {
  SplitFolders folders;
  std::vector<LabelledFiles> splits;  ///< training and held-out files, or one of which a part is to be held out
  std::int64_t left_aside = 0;        ///< rows in neither folder

  /// Those of all splits.
  std::vector<std::int64_t> files() const;
};

/// The splits of the files that are rows of the data set.
FileSplits find_file_splits(const FileSet& files, const std::vector<std::int64_t>& rows,
                            const SplitFolderOptions& options);

/// The images of a part of the set ("train"; "": all), from files with these classes; none without classes.
using ImagesOfFiles = std::function<std::unique_ptr<SourceImages>(
    const std::string& part, std::vector<std::int64_t> files, std::vector<std::int32_t> labels)>;

/// Gives a source its splits and classes, and notes what was decided. Of a set that is one split a share is held out;
/// one row alone is refused.
void set_splits(ImageSource& source, const FileSet& files, FileSplits splits, FileLabels labels,
                const HeldOutOptions& held_out, const ImagesOfFiles& images);

}  // namespace couplet
