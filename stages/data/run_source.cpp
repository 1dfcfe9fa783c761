#include "stages/data/run_source.h"

#include "method/data/codec.h"
#include "method/data/files/divided_pass.h"
#include "method/data/source_detection.h"
#include "pipeline/distributed/agreement.h"
#include "storage/error.h"
#include "storage/filesystem.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace couplet {

namespace {

constexpr char found_out[] = "auto";  ///< a value of prepare.format
constexpr std::int64_t most_classes = std::int64_t{1} << 20;

/// What lies at a path, found out once by this process.
const DetectedSource& detected(const std::string& source) {
  static std::mutex mutex;
  static std::map<std::string, DetectedSource> known;
  const std::lock_guard lock(mutex);
  const auto found = known.find(source);
  return found != known.end() ? found->second : known[source] = detect_source(source);
}

/// What stands in prepare.format, or what lies there.
const SourceKind& source_kind(const PrepareConfig& config) {
  return find_source(config.format == found_out ? detected(config.source).format : config.format);
}

SourceOptions source_options(const PrepareConfig& c, DividedPass pass) {
  return {.folder = c.source,
          .train_images = c.train_images,
          .train_labels = c.train_labels,
          .test_images = c.test_images,
          .test_labels = c.test_labels,
          .toy = c.toy,
          .train_rows = c.train_rows,
          .test_rows = c.test_rows,
          .held_out = {c.held_out, static_cast<std::uint64_t>(c.held_out_seed)},
          .arrays = {.train_images = c.array_train_images,
                     .train_labels = c.array_train_labels,
                     .test_images = c.array_test_images,
                     .test_labels = c.array_test_labels,
                     .layout = c.array_layout,
                     .range = c.array_range},
          .label_order = c.label_order,
          .files = {.labels = c.labels,
                    .folders = {c.train_folder, c.test_folder},
                    .channels = c.channels,
                    .size = c.size,
                    .crop = c.crop,
                    .filter = c.filter,
                    .skip_broken = c.skip_broken,
                    .pass = std::move(pass)}};
}

/// `says`: whether the source is to say what was found out.
ImageSource opened(const PrepareConfig& config, const SourceKind& kind, DividedPass pass, bool says) {
  ImageSource source = kind.open(source_options(config, std::move(pass)));
  if (says && config.format == found_out)
    source.notes.insert(source.notes.begin(),
                        fmt::format("taken as {}: {}", kind.name, detected(config.source).reason));
  return source;
}

}  // namespace

LowResolution low_resolution(const PrepareConfig& config) {
  if (config.condition == "none") return {};
  return {config.factor, config.degradation};
}

ImageSource open_source(const PrepareConfig& config, const RunDirectory& run) {
  return opened(config, source_kind(config), kept_pass(run.source_files(), remembered_pass()), true);
}

ImageSource open_source(const PrepareConfig& config, const RunDirectory& run, Communicator& communicator) {
  std::string format;
  run_on_all(communicator, [&] {
    if (communicator.is_root()) format = source_kind(config).name;
  });
  return opened(config, find_source(communicator.broadcast_text(format, 0)),
                pass_of_ranks(communicator, run.source_files()), communicator.is_root());
}

std::vector<SourceFile> source_files(const PrepareConfig& config) {
  if (config.format == found_out && !is_there(config.source)) return {{config.source, "prepare.source"}};
  const SourceKind& kind = source_kind(config);
  return kind.files == nullptr ? std::vector<SourceFile>{} : kind.files(source_options(config, undivided_pass()));
}

bool lies_somewhere(const PrepareConfig& config) {
  return config.format == found_out || source_kind(config).files != nullptr;
}

std::string stored_codec(const PrepareConfig& config) {
  // What is found out by looking is none of those.
  const std::string own = config.format == found_out ? "" : find_source(config.format).codec;
  return own.empty() ? config.codec : own;
}

std::optional<PointDensity> point_density(const PrepareConfig& config) {
  if (!has_points(config)) return std::nullopt;
  return find_source(config.format).density(source_options(config, undivided_pass()));
}

bool has_points(const PrepareConfig& config) {
  return config.format != found_out && find_source(config.format).density != nullptr;
}

std::int64_t used_rows(const SourceImages& images, std::int64_t limit, const char* limit_key) {
  const std::int64_t there = images.shape().images;
  if (limit > there) refuse("{} = {}, but {} holds {} images", limit_key, limit, images.name(), there);
  return limit > 0 ? limit : there;
}

namespace {

/// Refuses a codec that stores values of another type than the source gives.
void require_codec(const SourceImages& images, const PrepareConfig& config) {
  if (stored_codec(config) != config.codec) return;  // the source's own
  if (find_codec(config.codec).make(nlohmann::json::object(), {})->stored_type() == images.type()) return;
  std::vector<std::string> fitting;
  for (const CodecKind& kind : codec_kinds())
    if (kind.is_of_source && kind.make(nlohmann::json::object(), {})->stored_type() == images.type())
      fitting.push_back(kind.name);
  refuse("prepare.format = {} gives {} values, which prepare.codec = {} does not store; codecs that do: {}",
         config.format, element_name(images.type()), config.codec, fmt::join(fitting, ", "));
}

/// A model is given the low resolution beside what it sees: in the same pixels.
void require_low_resolution(const LowResolution& low, const std::string& codec, const ImageSetShape& images) {
  const std::vector<std::int64_t> seen{images.channels, images.height, images.width};
  if (find_codec(codec).make(nlohmann::json::object(), {})->pixel_shape(seen) != seen)
    refuse("prepare.condition = low-resolution with prepare.codec = {}, whose rows are no pixels: use uint8", codec);
  check(low, seen);
}

}  // namespace

void require_images(const ImageSource& source, const PrepareConfig& config) {
  const SourceImages &train = *source.train, &test = *source.test;
  require_codec(train, config);
  // A data set counts the rows of every number below its largest label.
  if (source.classes > most_classes)
    refuse("{}: its largest label is {}; of at most {} classes, numbered from 0 without gaps, a data set is made",
           train.name(), source.classes - 1, most_classes);
  used_rows(train, config.train_rows, "prepare.train-rows");
  used_rows(test, config.test_rows, "prepare.test-rows");
  const std::string trained = train.shape().image_text(), held_out = test.shape().image_text();
  if (trained != held_out)
    refuse("training images are {} ({}) but test images {} ({})", trained, train.name(), held_out, test.name());
  if (train.shape().height != train.shape().width)
    refuse("{}: images of {} (channels, height, width); the models take square ones", train.name(), trained);
  if (const LowResolution low = low_resolution(config); low.is_given())
    require_low_resolution(low, config.codec, train.shape());
}

void require_source(const PrepareConfig& config, const RunDirectory& run) {
  if (config.format == found_out && !is_there(config.source))
    refuse("prepare.source: there is nothing at {}", config.source);
  try {
    for (const SourceFile& file : source_files(config))
      if (!is_there(file.path)) refuse("{}: there is no file {}", file.key, file.path.string());
    require_images(open_source(config, run), config);
  } catch (const Error& error) {
    refuse("{}", error.what());
  }
}

}  // namespace couplet
