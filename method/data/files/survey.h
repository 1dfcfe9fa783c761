// The first pass over a set of files: which of them are images, of what size and kind, and which are broken.
#pragma once

#include "storage/archives/file_set.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace couplet {

/// How images are encoded: one for all files that are alike.
struct ImageEncoding {
  std::string format, mode;  ///< "PNG", "palette, 4 bits"
  std::string converted;     ///< what decoding changes or leaves out: "alpha dropped"; "": nothing
  std::int64_t channels = 1;

  bool operator==(const ImageEncoding&) const = default;
};

enum class FileState : std::uint16_t {
  image,
  broken,  ///< meant as an image, by its first bytes or its name, or unreadable
  other    ///< anything else: a list of labels, a licence
};

struct SurveyedFile {
  std::uint64_t hash = 0;  ///< XXH3 of the bytes
  std::uint16_t height = 0, width = 0;
  std::uint16_t encoding = 0;  ///< in Survey::encodings()
  FileState state = FileState::other;
};

/// What is known of files [first, first + count) of a set: 16 bytes a file, and why broken ones are.
class Survey {
public:
  explicit Survey(std::int64_t first = 0) : first_(first) {}

  std::int64_t first() const { return first_; }
  std::int64_t count() const { return static_cast<std::int64_t>(files_.size()); }
  /// Of file `file` of the set.
  const SurveyedFile& operator[](std::int64_t file) const { return files_[static_cast<std::size_t>(file - first_)]; }
  const ImageEncoding& encoding(std::int64_t file) const { return encodings_[(*this)[file].encoding]; }
  /// Why each of the broken files is broken.
  const std::map<std::int64_t, std::string>& broken() const { return broken_; }
  /// The files in a state.
  std::vector<std::int64_t> files_in(FileState state) const;

  void add_image(std::uint64_t hash, std::int64_t height, std::int64_t width, const ImageEncoding& encoding);
  void add_broken(std::string reason);
  void add_other(std::uint64_t hash);
  /// Adds the files behind these. Others than those that follow are an error.
  void append(const Survey& next);

  /// As bytes, for another process of this program.
  std::string packed() const;
  /// Refuses bytes that are none; `what` says in messages where they are from.
  static Survey unpacked(std::string_view packed, const std::string& what);

private:
  std::uint16_t number_of(const ImageEncoding& encoding);

  std::int64_t first_ = 0;
  std::vector<SurveyedFile> files_;
  std::vector<ImageEncoding> encodings_;
  std::map<std::int64_t, std::string> broken_;
};

/// Looks at files [first, first + count) one after the other. Every byte is read, and every image decoded. What is
/// wrong with a file never is an error here.
Survey survey_files(const FileSet& files, std::int64_t first, std::int64_t count);

/// The lines of broken files, "a/1.png: truncated", at most `most` of them and how many more there are.
std::string broken_text(const FileSet& files, const Survey& survey, std::size_t most);

}  // namespace couplet
