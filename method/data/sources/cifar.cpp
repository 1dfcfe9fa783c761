// CIFAR-10 and CIFAR-100 in their binary version (cs.toronto.edu/~kriz/cifar.html): records of one byte of label, or of
// two, of which the second is the fine one, and of the red, green and blue planes of 32 x 32 pixels.
#include "method/data/image_source.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t cifar_side = 32, cifar_pixels = 3 * cifar_side * cifar_side;

struct CifarKind {
  const char* name;
  std::int64_t label_bytes, classes;
  std::vector<const char*> train;
  const char *test, *names;
  const char* folder;   ///< that the archive unpacks to
  const char* pickled;  ///< a file of the Python version

  std::int64_t record_bytes() const { return label_bytes + cifar_pixels; }
};

const std::vector<CifarKind>& cifar_kinds() {
  static const std::vector<CifarKind> kinds{
      {"CIFAR-10",
       1,
       10,
       {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
       "test_batch.bin",
       "batches.meta.txt",
       "cifar-10-batches-bin",
       "data_batch_1"},
      {"CIFAR-100", 2, 100, {"train.bin"}, "test.bin", "fine_label_names.txt", "cifar-100-binary", "train"}};
  return kinds;
}

struct CifarFolder {
  const CifarKind& kind;
  fs::path path;

  std::vector<fs::path> train() const {
    std::vector<fs::path> files;
    for (const char* name : kind.train) files.push_back(path / name);
    return files;
  }
  fs::path test() const { return path / kind.test; }
  std::vector<fs::path> all() const {
    std::vector<fs::path> files = train();
    files.push_back(test());
    return files;
  }
};

/// Finds out by the names of its files which of the two a folder, or what the archive unpacked in it, is.
CifarFolder find_cifar(const fs::path& folder) {
  if (is_there(folder) && !fs::is_directory(folder))
    refuse(
        "{}: is a file; expected the folder that CIFAR's binary version unpacks to (cifar-10-batches-bin, "
        "cifar-100-binary)",
        folder.string());
  std::vector<CifarFolder> found;
  for (const CifarKind& kind : cifar_kinds())
    for (const fs::path& place : {folder, folder / kind.folder}) {
      const CifarFolder candidate{kind, place};
      if (std::ranges::any_of(candidate.all(), is_there)) found.push_back(candidate);
    }
  if (found.size() == 1) return found.front();
  if (found.size() > 1)
    refuse("{}: holds files of {} in {} and of {} in {}; name the folder of one of them", folder.string(),
           found[0].kind.name, found[0].path.string(), found[1].kind.name, found[1].path.string());
  for (const CifarKind& kind : cifar_kinds())
    if (is_there(folder / kind.pickled))
      refuse(
          "{}: holds the Python version of {}, which is read by running what is in it; fetch the binary version ({} "
          "and others)",
          folder.string(), kind.name, kind.train.front());
  refuse(
      "{}: holds no file of CIFAR's binary version: data_batch_1.bin … data_batch_5.bin and test_batch.bin "
      "(CIFAR-10), or train.bin and test.bin (CIFAR-100)",
      folder.string());
}

/// One file of records.
struct RecordFile {
  fs::path path;
  FileHandle file;
  std::int64_t records = 0;
};

std::int64_t records_in(const CifarKind& kind, const fs::path& path, std::uint64_t bytes) {
  const auto record = static_cast<std::uint64_t>(kind.record_bytes());
  if (bytes > 0 && bytes % record == 0) return static_cast<std::int64_t>(bytes / record);
  for (const CifarKind& other : cifar_kinds())
    if (bytes > 0 && bytes % static_cast<std::uint64_t>(other.record_bytes()) == 0)
      refuse("{}: its {} bytes are records of {} bytes, as {} has them; by its name it is of {}, whose records have {}",
             path.string(), bytes, other.record_bytes(), other.name, kind.name, record);
  fail("{}: its {} bytes are {} records of {} bytes, as {} has them, and {} bytes; is it cut short? Fetch it again",
       path.string(), bytes, bytes / record, record, kind.name, bytes % record);
}

/// Opens files of a split, which have as many records each.
std::vector<RecordFile> open_records(const CifarKind& kind, const std::vector<fs::path>& paths) {
  std::vector<RecordFile> files;
  for (const fs::path& path : paths) {
    if (!is_there(path)) refuse("{} is missing: it is one of the files of {}", path.string(), kind.name);
    FileHandle file = FileHandle::open_to_read(path);
    const std::int64_t records = records_in(kind, path, file.size());
    if (!files.empty() && records != files.front().records)
      fail("{}: has {} records, but {} has {}: one of them is cut short; fetch it again", path.string(), records,
           files.front().path.string(), files.front().records);
    files.push_back({path, std::move(file), records});
  }
  return files;
}

/// The names of the classes, a line each; none where there is no file of them.
std::vector<std::string> names_of_classes(const CifarFolder& folder) {
  const fs::path path = folder.path / folder.kind.names;
  if (!is_there(path)) return {};
  const FileHandle file = FileHandle::open_to_read(path);
  constexpr std::uint64_t most_bytes = 64 * 1024;
  std::string text(static_cast<std::size_t>(std::min(file.size(), most_bytes)), '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), 0);
  std::vector<std::string> names;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    std::string name = text.substr(start, end - start);
    while (!name.empty() && (name.back() == '\r' || name.back() == ' ')) name.pop_back();
    if (!name.empty()) names.push_back(utf8_text(name));
    start = end + 1;
  }
  if (std::ssize(names) != folder.kind.classes)
    fail("{}: has {} names; {} has {} classes", path.string(), names.size(), folder.kind.name, folder.kind.classes);
  return names;
}

class CifarImages : public SourceImages {
public:
  CifarImages(const CifarKind& kind, const std::string& name, const std::vector<fs::path>& paths)
      : CifarImages(kind, name, open_records(kind, paths)) {}

  at::Tensor read(std::int64_t first, std::int64_t count) override {
    at::Tensor images = at::empty({count, 3, cifar_side, cifar_side}, at::kByte);
    const std::span<std::byte> pixels = writable_bytes(images);
    std::int64_t done = 0;
    for_records(first, count, [&](const RecordFile&, std::int64_t, std::span<const std::byte> record) {
      std::ranges::copy(record.subspan(static_cast<std::size_t>(kind_.label_bytes)),
                        pixels.begin() + done++ * cifar_pixels);
    });
    return images;
  }
  std::int64_t label(std::int64_t image) const override { return labels_[static_cast<std::size_t>(image)]; }
  std::string image_name(std::int64_t image) const override {
    const std::int64_t records = files_.front().records;
    return fmt::format("record {} of {}", image % records,
                       files_[static_cast<std::size_t>(image / records)].path.string());
  }
  std::string content_hash() const override {
    std::vector<fs::path> paths;
    for (const RecordFile& file : files_) paths.push_back(file.path);
    return files_hash(paths);
  }

private:
  CifarImages(const CifarKind& kind, const std::string& name, std::vector<RecordFile> files)
      : SourceImages(name, shape_of(files)), kind_(kind), files_(std::move(files)) {
    for_records(0, shape().images, [&](const RecordFile& file, std::int64_t number, std::span<const std::byte> record) {
      const auto label = std::to_integer<std::uint8_t>(record[static_cast<std::size_t>(kind.label_bytes - 1)]);
      if (label >= kind.classes)
        fail("{}: record {} has the label {}; {} has {} classes: the file is damaged, or no file of {}",
             file.path.string(), number, label, kind.name, kind.classes, kind.name);
      labels_.push_back(label);
    });
  }

  static ImageSetShape shape_of(const std::vector<RecordFile>& files) {
    return {files.front().records * std::ssize(files), 3, cifar_side, cifar_side};
  }

  /// Calls `look(file, number in the file, bytes)` for records [first, first + count), some of which are read at once.
  template <class Look>
  void for_records(std::int64_t first, std::int64_t count, Look look) const {
    constexpr std::int64_t at_once = 512;
    const std::int64_t records = files_.front().records, bytes = kind_.record_bytes();
    std::vector<std::byte> piece;
    for (std::int64_t image = first; image < first + count;) {
      const RecordFile& file = files_[static_cast<std::size_t>(image / records)];
      const std::int64_t number = image % records, some = std::min({at_once, records - number, first + count - image});
      piece.resize(static_cast<std::size_t>(some * bytes));
      file.file.read_at(piece, static_cast<std::uint64_t>(number * bytes));
      for (std::int64_t i = 0; i < some; ++i)
        look(file, number + i,
             std::span<const std::byte>(piece).subspan(static_cast<std::size_t>(i * bytes),
                                                       static_cast<std::size_t>(bytes)));
      image += some;
    }
  }

  const CifarKind& kind_;
  std::vector<RecordFile> files_;
  std::vector<std::uint8_t> labels_;
};

ImageSource open_cifar(const SourceOptions& options) {
  const CifarFolder folder = find_cifar(options.folder);
  const std::string name = folder.path.string();
  return {.classes = folder.kind.classes,
          .train = std::make_unique<CifarImages>(folder.kind, name + ", training", folder.train()),
          .test = std::make_unique<CifarImages>(folder.kind, name + ", test", std::vector{folder.test()}),
          .class_names = names_of_classes(folder)};
}

/// Of a folder that is not there, CIFAR-10's; none of one that is no CIFAR, of which opening says best what is wrong.
std::vector<SourceFile> cifar_files(const SourceOptions& options) {
  std::vector<SourceFile> files;
  try {
    const CifarFolder folder =
        is_there(options.folder) ? find_cifar(options.folder) : CifarFolder{cifar_kinds().front(), options.folder};
    for (fs::path& path : folder.all()) files.push_back({std::move(path), "prepare.source"});
  } catch (const Error&) {
  }
  return files;
}

}  // namespace

SourceKind cifar_source() {
  return {"cifar", "CIFAR-10 or CIFAR-100 in the binary version", open_cifar, cifar_files};
}

}  // namespace couplet
