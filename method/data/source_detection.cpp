#include "method/data/source_detection.h"

#include "method/data/latent_arrays.h"
#include "storage/archives/file_set.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/filesystem.h"
#include "storage/formats/array_folder.h"
#include "storage/formats/foreign_array.h"
#include "storage/formats/idx.h"
#include "storage/images/image.h"
#include "storage/tables/filenames.h"
#include "storage/text.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>
#include <string_view>

namespace couplet {
namespace {

/// What the first bytes of a file say.
enum class Content { unknown, image, array, zip, tar, idx, compressed, parquet, pickle };

constexpr const char* pickle_advice =
    "a Python pickle, which could only be read by running what is in it; fetch the data set's binary or .npz version, "
    "or write its arrays with numpy.savez";

/// Tells whether a file, packed by gzip or not, begins as one of IDX format does.
bool is_idx(const fs::path& path) {
  try {
    const IdxFile file(path);
    return true;
  } catch (const Error&) {
    return false;
  }
}

Content content_of(const fs::path& path) {
  std::array<char, 16> bytes{};
  const FileHandle file = FileHandle::open_to_read(path);
  const std::string_view begin(bytes.data(), file.read_some(std::as_writable_bytes(std::span(bytes)), 0));
  if (begins_as_image(std::as_bytes(std::span(begin)))) return Content::image;
  if (begin.starts_with("\x93NUMPY") || is_hdf5(path)) return Content::array;
  if (begin.starts_with("PAR1")) return Content::parquet;
  if (begin.starts_with(std::string_view("\0\0\x08", 3))) return is_idx(path) ? Content::idx : Content::unknown;
  // Protocols 2 to 5 begin so; older ones are text.
  if (begin.size() > 1 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5) return Content::pickle;
  switch (file_set_kind(path)) {
    case FileSetKind::zip:
      return Content::zip;
    case FileSetKind::tar:
      return Content::tar;
    case FileSetKind::compressed:
      return is_idx(path) ? Content::idx : Content::compressed;
    default:
      return Content::unknown;
  }
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

/// Samples of latents have to become pixels, by a program that no one can find out.
[[noreturn]] void refuse_latents(const std::string& shown, const std::string& what) {
  refuse(
      "{}: holds latents, it seems: {}. Set prepare.format = latents, latents.codec = script, and latents.file to the "
      "program that makes pixels of them (docs/latents.md); or prepare.format to what else it is",
      shown, what);
}

/// Arrays of a file or a folder, unless they are called as latents are.
DetectedSource detect_arrays(const fs::path& path, const std::string& shown, const std::string& reason) {
  const bool is_one_array = !fs::is_directory(path) && !is_archive(path) && !is_hdf5(path);
  if (are_latents(is_one_array ? std::vector{path.stem().string()} : open_arrays(path)->names()))
    refuse_latents(shown, "arrays mean and std, or moments");
  return {"arrays", reason};
}

/// The kind of a zip archive, from the names of its members: .npz files are zip archives of .npy files.
DetectedSource detect_zip(const fs::path& path, const std::string& shown) {
  const auto files = open_zip(path);
  std::int64_t arrays = 0, in_folders = 0, batches = 0;
  for (std::int64_t i = 0; i < files->count(); ++i) {
    const std::string name = files->name(i);
    (name.find('/') == std::string::npos ? arrays : in_folders) += name.ends_with(".npy") ? 1 : 0;
    batches += name.ends_with(".npz") ? 1 : 0;
  }
  if (files->count() == 0) refuse("{}: is a zip archive without files", shown);
  if (arrays == files->count()) return detect_arrays(path, shown, fmt::format("{} is an .npz file", shown));
  const std::int64_t labels = files->find("dataset.json") ? 1 : 0;
  if (arrays + in_folders == files->count() - labels)
    refuse_latents(shown, fmt::format("{} .npy files, an array each", arrays + in_folders));
  if (batches == files->count())
    refuse("{}: is a zip archive of .npz files, as ImageNet's batches come; unpack it into a folder", shown);
  return {"files", fmt::format("{} is a zip archive of {} files", shown, files->count())};
}

DetectedSource detect_file(const fs::path& path, const std::string& shown) {
  switch (content_of(path)) {
    case Content::array:
      return detect_arrays(path, shown, fmt::format("{} is a file of arrays", shown));
    case Content::zip:
      return detect_zip(path, shown);
    case Content::tar:
      return {"files", fmt::format("{} is a tar archive", shown)};
    case Content::parquet:
      return {"files", fmt::format("{} is a Parquet file", shown)};
    case Content::idx:
      refuse("{}: is one IDX file of a data set; name the folder in which its images and labels lie", shown);
    case Content::image:
      refuse("{}: is one image; name the folder or archive in which the images lie", shown);
    case Content::pickle:
      refuse("{}: is {}", shown, pickle_advice);
    case Content::compressed:
      open_file_set(path);  // which refuses it, and says how to unpack it
      [[fallthrough]];
    case Content::unknown:
      break;
  }
  constexpr std::array<std::uint64_t, 2> cifar_records{3073, 3074};
  const std::uint64_t bytes = FileHandle::open_to_read(path).size();
  if (bytes > 0 && std::ranges::any_of(cifar_records, [&](std::uint64_t record) { return bytes % record == 0; }))
    refuse("{}: may be one file of CIFAR's binary version; name the folder in which all of them lie", shown);
  refuse(
      "{}: is no data set that is known: expected a folder, an archive (zip, tar), or a file of arrays (.npz, .npy, "
      "HDF5); "
      "prepare.format says what it is",
      shown);
}

/// A file by whose name a kind of data set is known, in the folder itself or in one of these folders in it.
struct KnownName {
  const char *format, *folder, *name, *what;
};

constexpr std::array known_names{
    KnownName{"table", "", manifest_name, "a table of this program"},
    KnownName{"table", "train", manifest_name, "tables of this program"},
    KnownName{"table", "prepare/train", manifest_name, "a run of this program"},
    KnownName{"cifar", "", "data_batch_1.bin", "CIFAR-10"},
    KnownName{"cifar", "cifar-10-batches-bin", "data_batch_1.bin", "CIFAR-10"},
    KnownName{"cifar", "", "train.bin", "CIFAR-100"},
    KnownName{"cifar", "cifar-100-binary", "train.bin", "CIFAR-100"},
    KnownName{"imagenet", "", "train_data_batch_1.npz", "ImageNet's .npz batches"},
    KnownName{"imagenet", "", "val_data.npz", "ImageNet's .npz batches"},
};

/// The files of data sets that come as pickles, and what else there is of them.
struct PickledName {
  const char *name, *advice;
};

constexpr std::array pickled_names{
    PickledName{"data_batch_1", "CIFAR-10's Python version; fetch the binary version (cifar-10-binary.tar.gz)"},
    PickledName{"cifar-10-batches-py/data_batch_1",
                "CIFAR-10's Python version; fetch the binary version (cifar-10-binary.tar.gz)"},
    PickledName{"train", "CIFAR-100's Python version; fetch the binary version (cifar-100-binary.tar.gz)"},
    PickledName{"cifar-100-python/train",
                "CIFAR-100's Python version; fetch the binary version (cifar-100-binary.tar.gz)"},
    PickledName{"train_data_batch_1", "ImageNet's pickled batches; fetch the .npz version (train_data_batch_1.npz)"},
};

std::optional<DetectedSource> detect_by_names(const fs::path& folder, const std::string& shown) {
  for (const KnownName& known : known_names)
    if (is_file(folder / known.folder / known.name))
      return DetectedSource{known.format, fmt::format("{} holds {} of {}", shown, known.name, known.what)};
  for (const PickledName& pickled : pickled_names)
    if (const fs::path path = folder / pickled.name; is_file(path) && content_of(path) == Content::pickle)
      refuse("{}: is {}; a pickle could only be read by running what is in it", utf8_text(path.string()),
             pickled.advice);
  return std::nullopt;
}

/// By what its first files hold: an image decides at once, since arrays may lie beside images.
DetectedSource detect_folder(const fs::path& folder, const std::string& shown) {
  if (auto known = detect_by_names(folder, shown)) return *std::move(known);
  constexpr std::int64_t most_looked_at = 1000;
  const auto files = open_folder(folder);
  if (files->count() == 0) refuse("{}: holds no files", shown);
  std::map<Content, std::string> first;  // of each content, the first file
  for (std::int64_t i = 0; i < std::min(files->count(), most_looked_at); ++i) {
    const std::string name = files->name(i);
    const Content content = content_of(folder / fs::path(name));
    if (content == Content::image) return {"files", fmt::format("{} holds images, first {}", shown, shown_name(name))};
    first.emplace(content, name);
  }
  const auto found = [&](Content content) { return first.contains(content); };
  const auto holds = [&](const char* what, Content content) {
    return fmt::format("{} holds {}, first {}", shown, what, shown_name(first.at(content)));
  };
  if (found(Content::idx)) return {"idx", holds("IDX files", Content::idx)};
  if (found(Content::parquet)) return {"files", holds("Parquet files", Content::parquet)};
  if (found(Content::array)) {
    // Arrays of images lie in the folder itself.
    const std::string reason = holds("files of arrays", Content::array);
    const bool are_above = !array_files(folder).empty();
    if (first.at(Content::array).ends_with(".npy") && (!are_above || files->find("dataset.json")))
      refuse_latents(shown, reason);
    return are_above ? detect_arrays(folder, shown, reason) : DetectedSource{"arrays", reason};
  }
  if (found(Content::zip)) {
    // Arrays of a data set are read from one folder.
    DetectedSource zip = detect_zip(folder / fs::path(first.at(Content::zip)), shown_name(first.at(Content::zip)));
    return {zip.format, holds(zip.format == "arrays" ? ".npz files" : "zip archives", Content::zip)};
  }
  if (found(Content::tar)) return {"files", holds("tar archives", Content::tar)};
  if (found(Content::pickle))
    refuse("{}: is {}", utf8_text((folder / fs::path(first.at(Content::pickle))).string()), pickle_advice);
  refuse(
      "{}: holds no data set that is known: none of its {} files{} is an image (PNG, JPEG, WebP), an archive, or a "
      "file "
      "of arrays; the first is {}",
      shown, files->count(), files->count() > most_looked_at ? fmt::format(" (of the first {})", most_looked_at) : "",
      shown_name(files->name(0)));
}

}  // namespace

DetectedSource detect_source(const fs::path& path) {
  const std::string shown = utf8_text(path.string());
  if (!is_there(path)) refuse("prepare.source = {}: there is nothing of that name", shown);
  return fs::is_directory(path) ? detect_folder(path, shown) : detect_file(path, shown);
}

}  // namespace couplet
