// Which arrays of a file are the images and labels of a data set: by the names that are usual, or by options.
#pragma once

#include "storage/formats/foreign_array.h"

#include <filesystem>
#include <string>

namespace couplet {

/// How images are found in files of arrays: the keys prepare.array-* of [prepare].
struct ArrayOptions {
  /// Names of arrays, prepare.array-train-images and so on. "": found by the names that are usual; labels also "none".
  std::string train_images = {}, train_labels = {}, test_images = {}, test_labels = {};
  std::string layout = "auto";         ///< prepare.array-layout: auto, NHW, NHWC or NCHW
  std::string range = "bytes";         ///< prepare.array-range: bytes, unit ([0, 1]) or signed-unit ([-1, 1])
  std::filesystem::path scratch = {};  ///< where packed arrays are unpacked to; empty: TMPDIR
};

struct SplitNames {
  std::string images;
  std::string labels;  ///< "": there are none
};

struct ArrayNames {
  SplitNames train, test;  ///< test.images = "": there is one split
};

/// Finds the arrays. Images of training are named for it (x_train, train_images, train/data), or plainly (images, x,
/// data, arr_0), or are the only array; held-out images and labels likewise (x_test, val_labels; labels, y, targets,
/// arr_1). Refuses, naming the key that decides: names that the file lacks; none or several that could be meant; labels
/// of one split alone; and arrays whose labels are not found while others are left that could be them.
ArrayNames find_array_names(const ForeignFile& file, const std::string& what, const ArrayOptions& options);

}  // namespace couplet
