// Image files, PNG, JPEG and WebP, in a folder or an archive.
#include "method/data/crop.h"
#include "method/data/file_splits.h"
#include "method/data/files/labels.h"
#include "method/data/files/survey.h"
#include "method/data/image_source.h"
#include "method/registry.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/images/image.h"
#include "storage/text.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

namespace couplet {
namespace {

constexpr std::size_t most_broken_told = 1000;

/// What both splits share.
struct ImageFiles {
  std::unique_ptr<FileSet> files;
  Survey survey;
  const CropKind& crop;
  const ResampleFilter& filter;
  std::int64_t channels = 0, size = 0;
  std::vector<std::string> class_names = {};

  /// What decides the pixels besides the files' bytes.
  std::string meaning() const {
    return fmt::format("{}{}, {} x {} x {}", crop.name, crop.takes_filter ? " by " + filter.name : "", channels, size,
                       size);
  }
  std::string what() const { return utf8_text(files->path().string()); }
  Picture picture(std::int64_t file) const;
};

/// The image as it is trained on.
Picture ImageFiles::picture(std::int64_t file) const {
  const std::vector<std::byte> bytes = files->read(file);
  if (hash64(bytes) != survey[file].hash) fail("{}: changed while it was in use; begin again", files->shown(file));
  Picture picture;
  try {
    picture = crop.apply(decode_image(bytes).picture, size, filter);
  } catch (const Error& error) {
    fail("{}: {}", files->shown(file), error.what());
  }
  if (picture.channels != channels && picture.channels != 1)
    fail("{}: has {} channels, expected {}", files->shown(file), picture.channels, channels);
  return picture;
}

/// Interleaved values to planes; grey ones to each plane.
void write_planes(const Picture& picture, std::int64_t channels, std::uint8_t* planes) {
  const auto pixels = static_cast<std::size_t>(picture.height * picture.width);
  const auto stride = static_cast<std::size_t>(picture.channels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    const std::uint8_t* from = picture.pixels.data() + std::min(c, stride - 1);
    for (std::size_t i = 0; i < pixels; ++i) planes[c * pixels + i] = from[i * stride];
  }
}

class FileImages : public SourceImages {
public:
  /// The images of these files, and their classes if they have any.
  FileImages(std::shared_ptr<const ImageFiles> all, const std::string& part, std::vector<std::int64_t> files,
             std::vector<std::int32_t> labels)
      : SourceImages(part.empty() ? all->what() : fmt::format("{} ({})", all->what(), part),
                     {std::ssize(files), all->channels, all->size, all->size}),
        all_(std::move(all)),
        files_(std::move(files)),
        labels_(std::move(labels)) {}

  at::Tensor read(std::int64_t first, std::int64_t count) override {
    return decoded(count, [&](std::int64_t i) { return file_of(first + i); });
  }
  at::Tensor read_images(const std::vector<std::int64_t>& images) override {
    return decoded(std::ssize(images), [&](std::int64_t i) { return file_of(images[static_cast<std::size_t>(i)]); });
  }
  std::int64_t label(std::int64_t image) const override {
    return labels_.empty() ? 0 : labels_[static_cast<std::size_t>(image)];
  }
  std::string image_name(std::int64_t image) const override { return all_->files->shown(file_of(image)); }
  /// Of the files' bytes in order, their classes with their names, and the crop; it is the same for a folder and its
  /// archive.
  std::string content_hash() const override {
    ContentHash hash;
    const std::string meaning = fmt::format("{}\n{}\n", all_->meaning(), fmt::join(all_->class_names, "\n"));
    hash.add(std::as_bytes(std::span(meaning)));
    for (std::int64_t i = 0; i < shape().images; ++i) {
      const std::uint64_t of_image[] = {all_->survey[file_of(i)].hash, static_cast<std::uint64_t>(label(i))};
      hash.add(std::as_bytes(std::span(of_image)));
    }
    return hash.text();
  }
  std::string file_line(std::int64_t image) const override {
    const std::int64_t file = file_of(image);
    const SurveyedFile& found = all_->survey[file];
    const ImageEncoding& encoding = all_->survey.encoding(file);
    std::string changed = encoding.converted;
    if (encoding.channels < shape().channels) changed += changed.empty() ? "grey to RGB" : ", grey to RGB";
    return fmt::format("{}\t{}\t{}\t{} {}\t{}", shown_name(all_->files->name(file)), found.width, found.height,
                       encoding.format, encoding.mode, changed);
  }

private:
  std::int64_t file_of(std::int64_t image) const { return files_[static_cast<std::size_t>(image)]; }

  template <class FileOf>
  at::Tensor decoded(std::int64_t count, FileOf file_at) const {
    at::Tensor images = at::empty({count, shape().channels, shape().height, shape().width}, at::kByte);
    auto* values = images.mutable_data_ptr<std::uint8_t>();
    const std::int64_t of_image = shape().channels * shape().height * shape().width;
    at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        write_planes(all_->picture(file_at(i)), shape().channels, values + i * of_image);
    });
    return images;
  }

  std::shared_ptr<const ImageFiles> all_;
  std::vector<std::int64_t> files_;
  std::vector<std::int32_t> labels_;
};

/// Refuses options that are wrong whatever the files are, before they are looked at.
void check_options(const FileOptions& options) {
  find_crop(options.crop);
  find_resample_filter(options.filter);
  find_kind(label_rules(), options.labels, "rule of labels");
  if (options.channels != 0 && options.channels != 1 && options.channels != 3)
    refuse("prepare.channels = {}: expected 1 (grey), 3 (RGB), or 0 for what the files have", options.channels);
  if (options.size < 0 || options.size > largest_image_side)
    refuse("prepare.size = {}: expected the pixels of a side, at most {}; 0: that of the files", options.size,
           largest_image_side);
}

/// The part of the first pass that this process makes, on all threads.
std::string surveyed_part(const FileSet& files, std::int64_t first, std::int64_t count) {
  constexpr std::int64_t at_once = 64;  // files of a thread's piece
  std::map<std::int64_t, Survey> pieces;
  std::mutex mutex;
  const std::int64_t all = (count + at_once - 1) / at_once;
  at::parallel_for(0, all, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t piece = begin; piece < end; ++piece) {
      const std::int64_t start = first + piece * at_once;
      Survey survey = survey_files(files, start, std::min(at_once, first + count - start));
      const std::lock_guard lock(mutex);
      pieces.emplace(start, std::move(survey));
    }
  });
  Survey survey(first);
  for (const auto& [start, piece] : pieces) survey.append(piece);
  return survey.packed();
}

Survey survey_of(const FileSet& files, const FileOptions& options) {
  const auto stamp = [&] {
    return hash_text(fmt::format("{}\n{}\n{}", files.stamp(), files.count(), COUPLET_VERSION));
  };
  Survey whole;
  for (const std::string& part : options.pass(stamp, files.count(), [&](std::int64_t first, std::int64_t count) {
         return surveyed_part(files, first, count);
       }))
    whole.append(Survey::unpacked(part, "the pass over " + utf8_text(files.path().string())));
  if (whole.count() != files.count())
    fail("{}: the pass over its files looked at {} of {}", utf8_text(files.path().string()), whole.count(),
         files.count());
  return whole;
}

/// The images that are used.
std::vector<std::int64_t> sound_images(const ImageFiles& all, bool skip_broken) {
  std::vector<std::int64_t> images = all.survey.files_in(FileState::image);
  const std::size_t broken = all.survey.broken().size();
  if (broken > 0 && (!skip_broken || images.empty()))
    refuse("{}: {} of {} images are broken{}:\n{}", all.what(), broken, images.size() + broken,
           images.empty() ? "" : "; mend or remove them, or leave them out (prepare.skip-broken)",
           broken_text(*all.files, all.survey, most_broken_told));
  if (images.empty())
    refuse("{}: holds no image: none of its {} files is PNG, JPEG or WebP", all.what(), all.files->count());
  return images;
}

/// The channels that images get: those of all of them, or RGB where only some are grey.
std::int64_t channels_of(const ImageFiles& all, const std::vector<std::int64_t>& images, std::int64_t required) {
  const auto is_grey = [&](std::int64_t image) { return all.survey.encoding(image).channels == 1; };
  const auto grey = std::ranges::count_if(images, is_grey);
  if (required == 0) return grey == std::ssize(images) ? 1 : 3;
  const auto odd = required == 1 ? std::ssize(images) - grey : grey;
  if (odd > 0)
    refuse("prepare.channels = {}, but {} of {} images of {} are {}, the first is {}; prepare.channels = 0 {}",
           required, odd, images.size(), all.what(), required == 1 ? "in colour" : "grey",
           shown_name(all.files->name(*std::ranges::find(images, required != 1, is_grey))),
           required == 1 ? "makes all of them RGB" : "takes grey ones, and makes them RGB where others are");
  return required;
}

std::string sides_text(const SurveyedFile& file) {
  return fmt::format("{} x {}", file.width, file.height);
}

/// The side that images get: the option, or that of the files, which are then square and of one size.
std::int64_t side_of(const ImageFiles& all, const std::vector<std::int64_t>& images, const FileOptions& options) {
  const std::int64_t side = options.size > 0 ? options.size : all.survey[images.front()].width;
  if (options.size > 0 && options.crop != "none") return side;
  const auto fits = [&](std::int64_t image) {
    return all.survey[image].width == side && all.survey[image].height == side;
  };
  const auto others = std::ranges::count_if(images, [&](std::int64_t image) { return !fits(image); });
  if (others == 0) return side;
  const std::int64_t other = *std::ranges::find_if_not(images, fits);
  if (options.size > 0)
    refuse(
        "prepare.crop = none and prepare.size = {}, but {} of {} images are of another size, as {} of {}; choose a "
        "crop",
        side, others, images.size(), shown_name(all.files->name(other)), sides_text(all.survey[other]));
  const auto sides = [&](std::int64_t image) {
    return fmt::format("{} is {}", shown_name(all.files->name(image)), sides_text(all.survey[image]));
  };
  const std::int64_t first = images.front();
  refuse(
      "{}: images are not of one size and square ({}, width x height); say with prepare.size how many pixels a side "
      "gets, and with prepare.crop how",
      all.what(), first == other ? sides(first) : sides(first) + ", " + sides(other));
}

/// What was found and decided.
void tell(const ImageFiles& all, const std::vector<std::int64_t>& images, const FileLabels& labels,
          ImageSource& source) {
  std::map<std::string, std::int64_t> encoded, changed;
  for (const std::int64_t image : images) {
    const ImageEncoding& encoding = all.survey.encoding(image);
    ++encoded[encoding.format + " " + encoding.mode];
    if (encoding.channels < all.channels) ++changed["grey to RGB"];
    if (!encoding.converted.empty()) ++changed[encoding.converted];
  }
  const auto counted = [](const std::map<std::string, std::int64_t>& counts) {
    std::string text;
    for (const auto& [what, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : "; ", count, what);
    return text;
  };
  const auto others = std::ssize(all.survey.files_in(FileState::other));
  const std::size_t broken = all.survey.broken().size();
  source.notes = {fmt::format("{}: {} images ({})", all.what(), images.size(), counted(encoded)), labels.text(),
                  fmt::format("crop {}", all.meaning())};
  if (!changed.empty()) source.notes.push_back("converted: " + counted(changed));
  if (others > 0) source.notes.push_back(fmt::format("left aside: {} files that are no images", others));
  if (broken > 0)
    source.notes.push_back(fmt::format("{} broken images are left out:\n{}", broken,
                                       broken_text(*all.files, all.survey, most_broken_told)));
  source.provenance = {{"crop", all.crop.name}, {"labels", labels.rule}, {"encoded", encoded},
                       {"converted", changed},  {"broken", broken},      {"other_files", others}};
  if (all.crop.takes_filter) source.provenance["filter"] = all.filter.name;
}

ImageSource open_files(const SourceOptions& options) {
  check_options(options.files);
  auto files = open_file_set(options.folder);
  if (files->count() == 0) refuse("{}: holds no files", utf8_text(options.folder.string()));
  Survey survey = survey_of(*files, options.files);
  const auto all = std::make_shared<ImageFiles>(ImageFiles{.files = std::move(files),
                                                           .survey = std::move(survey),
                                                           .crop = find_crop(options.files.crop),
                                                           .filter = find_resample_filter(options.files.filter)});
  std::vector<std::int64_t> images = sound_images(*all, options.files.skip_broken);
  FileSplits splits = find_file_splits(*all->files, images, options.files.folders);
  images = splits.files();
  all->channels = channels_of(*all, images, options.files.channels);
  all->size = side_of(*all, images, options.files);
  FileLabels labels = read_labels(*all->files, splits.splits, options.files.labels);
  all->class_names = labels.class_names;

  ImageSource source;
  tell(*all, images, labels, source);
  set_splits(source, *all->files, std::move(splits), std::move(labels), options.held_out,
             [&](const std::string& part, std::vector<std::int64_t> files_of, std::vector<std::int32_t> classes) {
               return std::make_unique<FileImages>(all, part, std::move(files_of), std::move(classes));
             });
  return source;
}

/// None where there is something: the contents are those of its files, which the first pass has read.
std::vector<SourceFile> file_source_files(const SourceOptions& options) {
  if (is_there(options.folder)) return {};
  return {{options.folder, "prepare.source"}};
}

}  // namespace

SourceKind files_source() {
  return {"files", "PNG, JPEG and WebP images in a folder, a zip or tar archive, or Parquet files", open_files,
          file_source_files};
}

}  // namespace couplet
