// The classes of image files: what a set of files says of them, by their folders, their names or files beside them.
#pragma once

#include "storage/archives/file_set.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

/// The images of one split.
struct LabelledFiles {
  std::string folder;               ///< of the set in which they lie: "train"; "": in the set itself
  std::vector<std::int64_t> files;  ///< ascending
};

struct FileLabels {
  std::string rule;  ///< what the labels are taken from, one of `label_rules`
  std::int64_t classes = 0;
  std::vector<std::string> class_names = {};           ///< of each class; empty: classes are numbers
  std::vector<std::vector<std::int32_t>> splits = {};  ///< of each split's files their classes; empty without classes

  /// "labels by directory: 10 classes"
  std::string text() const;
};

/// Where labels come from: a value of prepare.labels.
struct LabelRule {
  std::string name, help;
};
/// auto, dataset.json, webdataset, directory, prefix, none.
const std::vector<LabelRule>& label_rules();

/// Finds the class of each image by a rule:
///  - dataset.json: the file of that name, as EDM's dataset_tool.py writes it: {"labels": [["a/1.png", 6], ...]}, or
///    null in place of the list, which is no labels. It lies in the split's folder, or in the set for all splits.
///  - webdataset: beside image "a/17.jpg" a file "a/17.cls" that holds a number, or "a/17.json" with the number under
///    the key `cls` or `label`. What stands before a name's first dot is shared.
///  - directory: the folder of the split in which the image lies, at whatever depth. Classes are the folders in the
///    order of their bytes, as torchvision's ImageFolder has it.
///  - prefix: the file's name up to the first '_', in the order of their bytes, as guided-diffusion has it.
///  - none.
///  - auto: the first of dataset.json and webdataset that is there; else directory where all images lie in two or more
///    folders; else none.
/// All splits have the same classes: folders and prefixes of all count. Refused are an unknown rule; a number that is
/// no class (below 0, 2^31 or more, a fraction, a vector); images without a label, with their count and the first; a
/// folder of a class that holds no image.
FileLabels read_labels(const FileSet& files, const std::vector<LabelledFiles>& splits, const std::string& rule);

}  // namespace couplet
