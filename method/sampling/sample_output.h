// Where samples go: one picture, an .npz file for evaluators, or a folder of PNG files.
#pragma once

#include "method/sampling/sample_stream.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>

namespace couplet {

/// A place for samples, published whole under its name or not at all. What it is follows from the name:
///  - FILE.png: one picture, `columns` samples a row (1000 at most);
///  - FILE.npz: arr_0 uint8 [N, H, W, C] and arr_1 int64 [N], the labels, as ADM's samplers write them;
///  - no extension, or / at the end: a folder of 000000-class-3.png, 000001-class-7.png ..., of 6 digits or more.
/// Channels are those of the data.
class SampleOutput {
public:
  /// The classes of samples [first, first + count), int64 [count].
  using Labels = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;

  /// Refuses another extension, and more samples than one picture can show. `overwrite`: in place of what is there.
  SampleOutput(std::filesystem::path path, std::int64_t samples, bool overwrite = false);

  /// Refuses what stands under the name already, unless `overwrite`; a folder that holds anything but such samples, or
  /// something of another kind, even then.
  void require_place() const;
  /// Takes all samples of the stream and publishes them. A place that cannot be written to, one with too little free
  /// for an archive, and a picture that would be too large are errors before the first sample is made. What killed
  /// samplings left beside it goes.
  void write(SampleStream& stream, const Labels& labels, std::int64_t columns) const;

  const std::filesystem::path& path() const { return path_; }

private:
  enum class Kind { picture, archive, folder };

  void write_picture(SampleStream& stream, std::int64_t columns) const;
  void write_archive(SampleStream& stream, const Labels& labels) const;
  void write_folder(SampleStream& stream, const Labels& labels) const;

  std::filesystem::path path_;
  Kind kind_;
  bool overwrite_;
};

}  // namespace couplet
