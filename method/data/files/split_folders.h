// The folders of a set of files in which the images of training and those that are held out lie.
#pragma once

#include "storage/archives/file_set.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

struct SplitFolders {
  std::string train, test;  ///< "": the set itself; equal: there is one split
  bool are_named() const { return train != test; }
};

/// What the keys prepare.train-folder and prepare.test-folder say. "": found by name; "none" as the first: the set is
/// one split, whatever its folders are called.
struct SplitFolderOptions {
  std::string train = {}, test = {};
};

/// Finds the folders from the names of the images. Without options: train, and beside it one of test, val and
/// validation; or train alone; or there is one split. Refused are: one option without the other; folders without
/// images; several folders that could be held out; images beside train and what is held out, which would be left out.
SplitFolders find_split_folders(const FileSet& files, const std::vector<std::int64_t>& images,
                                const SplitFolderOptions& options);

/// The images that lie in a folder; all for "".
std::vector<std::int64_t> images_inside(const FileSet& files, const std::vector<std::int64_t>& images,
                                        const std::string& folder);

}  // namespace couplet
