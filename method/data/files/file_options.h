// How image files become the images of a data set: keys of [prepare].
#pragma once

#include "method/data/files/divided_pass.h"
#include "method/data/files/split_folders.h"

#include <cstdint>
#include <string>

namespace couplet {

struct FileOptions {
  std::string labels = "auto";          ///< prepare.labels, one of label_rules()
  SplitFolderOptions folders = {};      ///< prepare.train-folder, prepare.test-folder
  std::int64_t channels = 0;            ///< prepare.channels: 1 or 3, which all files must have; 0: what they have
  std::int64_t size = 0;                ///< prepare.size: of a side in pixels; 0: that of the files, if it is one
  std::string crop = "adm";             ///< prepare.crop
  std::string filter = "box";           ///< prepare.filter, of the crop that takes one
  bool skip_broken = false;             ///< prepare.skip-broken
  DividedPass pass = undivided_pass();  ///< how the first pass is made
};

}  // namespace couplet
