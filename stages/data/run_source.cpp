#include "stages/data/run_source.h"

#include "method/data/codec.h"
#include "storage/error.h"
#include "storage/filesystem.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>

namespace couplet {

SourceOptions source_options(const PrepareConfig& config) {
  return {config.source,      config.train_images, config.train_labels, config.test_images,
          config.test_labels, config.toy,          config.train_rows,   config.test_rows};
}

LowResolution low_resolution(const PrepareConfig& config) {
  if (config.condition == "none") return {};
  return {config.factor, config.degradation};
}

ImageSource open_source(const PrepareConfig& config) {
  return find_source(config.format).open(source_options(config));
}

std::vector<SourceFile> source_files(const PrepareConfig& config) {
  const SourceKind& kind = find_source(config.format);
  return kind.files == nullptr ? std::vector<SourceFile>{} : kind.files(source_options(config));
}

std::optional<PointDensity> point_density(const PrepareConfig& config) {
  const SourceKind& kind = find_source(config.format);
  return kind.density == nullptr ? std::nullopt : std::optional(kind.density(source_options(config)));
}

bool has_points(const PrepareConfig& config) {
  return find_source(config.format).density != nullptr;
}

std::int64_t used_rows(const SourceImages& images, std::int64_t limit, const char* limit_key) {
  const std::int64_t there = images.shape().images;
  if (limit > there) refuse("{} = {}, but {} holds {} images", limit_key, limit, images.name(), there);
  return limit > 0 ? limit : there;
}

namespace {

/// Refuses a codec that stores values of another type than the source gives.
void require_codec(const SourceImages& images, const PrepareConfig& config) {
  if (find_codec(config.codec).make(nlohmann::json::object())->stored_type() == images.type()) return;
  std::vector<std::string> fitting;
  for (const CodecKind& kind : codec_kinds())
    if (kind.make(nlohmann::json::object())->stored_type() == images.type()) fitting.push_back(kind.name);
  refuse("prepare.format = {} gives {} values, which prepare.codec = {} does not store; codecs that do: {}",
         config.format, element_name(images.type()), config.codec, fmt::join(fitting, ", "));
}

/// A model is given the low resolution beside what it sees: in the same pixels.
void require_low_resolution(const LowResolution& low, const std::string& codec, const ImageSetShape& images) {
  const std::vector<std::int64_t> seen{images.channels, images.height, images.width};
  if (find_codec(codec).make(nlohmann::json::object())->pixel_shape(seen) != seen)
    refuse("prepare.condition = low-resolution with prepare.codec = {}, whose rows are no pixels: use uint8", codec);
  check(low, seen);
}

}  // namespace

void require_images(const ImageSource& source, const PrepareConfig& config) {
  const SourceImages &train = *source.train, &test = *source.test;
  require_codec(train, config);
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

void require_source(const PrepareConfig& config) {
  for (const SourceFile& file : source_files(config))
    if (!is_there(file.path)) refuse("{}: there is no file {}", file.key, file.path.string());
  try {
    require_images(open_source(config), config);
  } catch (const Error& error) {
    refuse("{}", error.what());
  }
}

}  // namespace couplet
