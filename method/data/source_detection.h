// What kind of data set lies somewhere: the source that prepare.format = auto takes.
#pragma once

#include <filesystem>
#include <string>

namespace couplet {

struct DetectedSource {
  std::string format;  ///< a value of prepare.format
  std::string reason;  ///< "the folder holds PNG, JPEG or WebP files, first a/1.png"
};

/// Finds out from what lies there: names of the files of CIFAR, of ImageNet's batches and of our tables, and the first
/// bytes of all others, whatever they are called. Refuses, saying what to do, what is nothing of that: data sets in
/// Python's pickles, compressed archives, single files of a data set that is a folder, folders that hold nothing known.
/// Where images lie beside arrays, it is a folder of images.
DetectedSource detect_source(const std::filesystem::path& path);

}  // namespace couplet
