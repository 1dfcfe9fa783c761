// Encoded images with the pixels that Pillow 12 reads from them, and what it makes of a picture
// (tests/data/reference/images.npz, by tests/peers/make_image_references.py).
#pragma once

#include "storage/formats/npz.h"
#include "storage/images/image.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace couplet::testing {

class ImageReferences {
public:
  /// The names of encoded images that begin so.
  std::vector<std::string> names(const std::string& start = "") const {
    std::vector<std::string> found;
    for (const std::string& name : file_->names())
      if (name.starts_with(start) && name.ends_with(encoded_)) found.push_back(name.substr(0, name.find(encoded_)));
    return found;
  }
  std::vector<std::byte> encoded(const std::string& name) const {
    const auto array = file_->open(name + encoded_);
    std::vector<std::byte> bytes(static_cast<std::size_t>(array->rows()));
    array->read_next(array->rows(), bytes);
    return bytes;
  }
  Picture pixels(const std::string& name) const { return picture(name + ".pixels"); }
  /// An array [height, width, channels].
  Picture picture(const std::string& name) const {
    const auto array = file_->open(name);
    const auto& shape = array->shape();
    Picture picture{shape.at(0), shape.at(1), shape.at(2), {}};
    picture.pixels.resize(static_cast<std::size_t>(shape[0]) * array->row_bytes());
    array->read_next(array->rows(), std::as_writable_bytes(std::span(picture.pixels)));
    return picture;
  }

private:
  std::string encoded_ = ".encoded";
  std::unique_ptr<ForeignFile> file_ = open_npz(std::filesystem::path(COUPLET_TEST_DATA) / "reference/images.npz");
};

}  // namespace couplet::testing
