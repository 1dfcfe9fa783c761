#include "method/sampling/sample_output.h"

#include "method/data/images.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_handle.h"
#include "storage/formats/npz.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <regex>
#include <span>
#include <string>
#include <utility>

namespace couplet {
namespace {

constexpr std::int64_t most_pictured = 10000, most_columns = 1000;
constexpr std::int64_t largest_picture = std::int64_t{1} << 29;  ///< bytes
fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// The number has so many digits that the order of the names is that of the samples.
std::string file_name(std::int64_t sample, std::int64_t samples, std::int64_t label) {
  const std::size_t digits = std::max<std::size_t>(6, std::to_string(samples - 1).size());
  return fmt::format("{:0{}d}-class-{}.png", sample, digits, label);
}

bool is_file_name(const std::string& name) {
  static const std::regex pattern("[0-9]{6,}-class-[0-9]+\\.png");
  return std::regex_match(name, pattern);
}

/// A folder to be replaced may hold samples only.
void require_samples_only(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.is_regular_file() || !is_file_name(entry.path().filename().string()))
      refuse("{}: is not replaced, for it is no folder of samples: it holds {}; remove it or choose another name",
             folder.string(), entry.path().filename().string());
  }
}

/// Interleaved: [n, H, W, C].
at::Tensor interleaved(const at::Tensor& images) {
  return images.permute({0, 2, 3, 1}).contiguous();
}

void write_bytes(const fs::path& path, std::span<const std::byte> bytes) {
  FileHandle file = FileHandle::create(path);
  file.write_at(bytes, 0);
  file.close();
}

}  // namespace

SampleOutput::SampleOutput(std::filesystem::path path, std::int64_t samples, bool overwrite)
    : path_(path.lexically_normal()), overwrite_(overwrite) {
  const std::string extension = path_.extension().string();
  if (!path_.has_filename())
    kind_ = Kind::folder;
  else if (extension == ".png")
    kind_ = Kind::picture;
  else if (extension == ".npz")
    kind_ = Kind::archive;
  else if (extension.empty())
    kind_ = Kind::folder;
  else
    refuse("--output {}: expected FILE.png, FILE.npz or a folder; a folder of this name is {}/", path.string(),
           path.string());
  if (!path_.has_filename()) path_ = path_.parent_path();
  if (!path_.has_filename() || path_.filename() == ".." || path_ == ".")
    refuse("--output {}: is no name for a folder of samples", path.string());
  if (kind_ == Kind::picture && samples > most_pictured)
    refuse("--output {}: one picture shows at most {} samples, not {}; name an .npz file or a folder", path.string(),
           most_pictured, samples);
}

void SampleOutput::require_place() const {
  std::error_code error;
  const fs::file_type found = fs::symlink_status(path_, error).type();
  if (found == fs::file_type::not_found) return;
  if (found == fs::file_type::none)
    refuse("{} cannot be written: {}; choose another name", path_.string(), error.message());
  const bool is_folder = fs::is_directory(path_);
  if (is_folder != (kind_ == Kind::folder))
    refuse("{}: is a {}, and is not replaced by a {}; choose another name", path_.string(),
           is_folder ? "folder" : "file", is_folder ? "file" : "folder");
  if (!overwrite_) refuse("{}: exists and is not overwritten; --overwrite replaces it", path_.string());
  if (is_folder) require_samples_only(path_);
}

void SampleOutput::write(SampleStream& stream, const Labels& labels, std::int64_t columns) const {
  if (fs::is_directory(parent_of(path_))) remove_leftovers(parent_of(path_), Ownership::shared);
  switch (kind_) {
    case Kind::picture:
      return write_picture(stream, columns);
    case Kind::archive:
      return write_archive(stream, labels);
    case Kind::folder:
      return write_folder(stream, labels);
  }
}

void SampleOutput::write_picture(SampleStream& stream, std::int64_t columns) const {
  const std::vector<std::int64_t>& shape = stream.image_shape();
  const std::int64_t bytes = stream.samples() * shape[0] * shape[1] * shape[2];
  if (bytes > largest_picture)
    refuse("{}: {} samples of {}x{}x{} are {} bytes, one picture shows at most {}; name an .npz file or a folder",
           path_.string(), stream.samples(), shape[0], shape[1], shape[2], bytes, largest_picture);
  Pending pending(path_);
  FileHandle file = FileHandle::create(pending.path());
  std::vector<at::Tensor> images;
  while (!stream.done()) images.push_back(stream.next());
  const std::string png = encode_png(picture_of(at::cat(images), std::min({columns, most_columns, stream.samples()})));
  file.write_at(std::as_bytes(std::span(png)), 0);
  file.close();
  pending.commit();
}

void SampleOutput::write_archive(SampleStream& stream, const Labels& labels) const {
  const std::vector<std::int64_t>& shape = stream.image_shape();
  const auto image_bytes = static_cast<std::uint64_t>(shape[0] * shape[1] * shape[2]);
  if (fs::is_directory(parent_of(path_)))
    require_free_space(
        parent_of(path_),
        static_cast<std::uint64_t>(stream.samples()) * (image_bytes + sizeof(std::int64_t)) + npz_overhead,
        path_.filename().string());
  const auto copy_images = [&](std::int64_t, std::int64_t, std::span<std::byte> out) {
    const at::Tensor images = interleaved(stream.next());
    std::memcpy(out.data(), images.const_data_ptr(), out.size());
  };
  const auto copy_labels = [&](std::int64_t first, std::int64_t count, std::span<std::byte> out) {
    std::memcpy(out.data(), labels(first, count).contiguous().const_data_ptr(), out.size());
  };
  write_npz(path_, {{.name = "arr_0",
                     .type = ElementType::uint8,
                     .rows = stream.samples(),
                     .row_shape = {shape[1], shape[2], shape[0]},
                     .rows_at_once = stream.slice_rows(),
                     .read = copy_images},
                    {.name = "arr_1",
                     .type = ElementType::int64,
                     .rows = stream.samples(),
                     .row_shape = {},
                     .rows_at_once = stream.slice_rows(),
                     .read = copy_labels}});
}

void SampleOutput::write_folder(SampleStream& stream, const Labels& labels) const {
  Pending pending(path_);
  fs::create_directory(pending.path());
  while (!stream.done()) {
    const std::int64_t first = stream.tally().samples;
    const at::Tensor images = stream.next(), classes = labels(first, images.size(0)).contiguous();
    const std::int64_t* label = classes.const_data_ptr<std::int64_t>();
    at::parallel_for(0, images.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::string png = encode_png(picture_of(images.narrow(0, i, 1), 1));
        write_bytes(pending.path() / file_name(first + i, stream.samples(), label[i]), std::as_bytes(std::span(png)));
      }
    });
  }
  pending.commit(overwrite_);
}

}  // namespace couplet
