// Data sets as they come: from files of some format, or made by a program. The prepare stage turns any of them into
// shards. A new kind of source is one file in method/data/sources and one line in its members.list.
#pragma once

#include "method/data/array_names.h"
#include "method/data/files/file_options.h"
#include "method/data/held_out_split.h"
#include "method/data/image_set.h"
#include "storage/formats/element_type.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace couplet {

/// One split of a data set: its images, in an order that does not depend on the file system, and the class of each.
class SourceImages : public ImageSet {
public:
  /// Of the values that `read` gives: what prepare.codec has to store.
  virtual ElementType type() const { return ElementType::uint8; }
  /// The class, from 0 and below the number of the source's classes; 0 where it has no classes.
  virtual std::int64_t label(std::int64_t image) const = 0;
  /// What messages call an image: "image 17 of train-images.gz".
  virtual std::string image_name(std::int64_t image) const;
  /// The images of these numbers, in this order, as `read` gives them.
  virtual at::Tensor read_images(const std::vector<std::int64_t>& images);
  /// What files.tsv says of an image: the file's name, its width and height, how it is encoded, and what decoding
  /// changed, with tabs between them. "": it comes from no file of its own.
  virtual std::string file_line(std::int64_t) const { return ""; }
  /// A hash of all that decides the images and their labels, such as the bytes of the files (`files_hash`): equal
  /// wherever the files lie. Files that are not whole are errors, whichever images are used.
  virtual std::string content_hash() const = 0;

protected:
  using ImageSet::ImageSet;
};

/// What is known of the distribution of a source of points.
struct PointDensity {
  double entropy = 0;  ///< in nats
  /// log p, float64 [n], at points, float64 [n, 2]; -∞ where there are none.
  std::function<at::Tensor(const at::Tensor& points)> log_density = {};
};

struct ImageSource {
  std::int64_t classes = 0;  ///< 0: images have no labels
  std::unique_ptr<SourceImages> train, test;
  std::vector<std::string> class_names = {};  ///< of each class; empty: the source knows none
  std::vector<std::string> notes = {};        ///< what was found and decided, a line each, for people
  nlohmann::json provenance = {};             ///< the same for what is made of the images; null: nothing
};

/// Where a source finds its files: the keys of [prepare].
struct SourceOptions {
  std::filesystem::path folder;                                      ///< prepare.source
  std::string train_images, train_labels, test_images, test_labels;  ///< files in it; "": there is none
  std::string toy = {};                                              ///< prepare.toy
  std::int64_t train_rows = 0, test_rows = 0;  ///< how many a source makes that has no end; 0: its own number

  HeldOutOptions held_out = {};        ///< where the data come as one split
  ArrayOptions arrays = {};            ///< of files of arrays
  std::string label_order = "devkit";  ///< prepare.label-order, of ImageNet's batches: devkit or wnid
  FileOptions files = {};              ///< of image files
};

struct SourceFile {
  std::filesystem::path path;
  std::string key;  ///< the option that names it
};

/// A kind of source: a value of prepare.format.
struct SourceKind {
  std::string name, help;
  /// Opens a data set. Images are read later, but for what cannot be known otherwise (a pass over files, `files.pass`).
  /// An error names the file, what was found and what was expected.
  ImageSource (*open)(const SourceOptions& options) = nullptr;
  /// The files whose bytes the data set is; they need not exist. Empty: `content_hash` says what is there. A source that
  /// makes its images has no such function.
  std::vector<SourceFile> (*files)(const SourceOptions& options) = nullptr;
  /// Of a source of points, whose images are [2, 1, 1], float32, and have no labels: their density. Samples are then
  /// compared and drawn as points. None: its images are images.
  PointDensity (*density)(const SourceOptions& options) = nullptr;
  /// By which its rows are stored, where that is not for prepare.codec to say: "latent".
  std::string codec = {};
};

/// All kinds: those that members.list names. Member `idx` is defined by `SourceKind idx_source()`.
const std::vector<SourceKind>& source_kinds();
/// An unknown name is refused with the nearest.
const SourceKind& find_source(const std::string& name);

/// The hash of the bytes of some files, in this order.
std::string files_hash(const std::vector<std::filesystem::path>& files);

}  // namespace couplet
