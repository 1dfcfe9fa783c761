#include "method/data/files/survey.h"

#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/images/image.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace couplet {
namespace {

/// Names that end so are of images, whatever they hold.
constexpr std::array<std::string_view, 18> image_suffixes{".png", ".jpg",  ".jpeg", ".jpe",  ".webp", ".gif",
                                                          ".bmp", ".tif",  ".tiff", ".ppm",  ".pgm",  ".pbm",
                                                          ".pnm", ".avif", ".heic", ".heif", ".jp2",  ".jxl"};

bool is_named_as_image(std::string name) {
  std::ranges::transform(name, name.begin(),
                         [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return std::ranges::any_of(image_suffixes, [&](std::string_view suffix) { return name.ends_with(suffix); });
}

void survey_file(const FileSet& files, std::int64_t file, Survey& survey) {
  const std::string name = files.name(file);
  std::vector<std::byte> bytes;
  try {
    // A film that lies among images is not read whole to find that it is none.
    if (!is_named_as_image(name) && files.size(file) > most_file_bytes) return survey.add_other(0);
    bytes = files.read(file);
  } catch (const Error& error) {
    // The reader names the file already.
    const std::string said = error.what(), who = files.shown(file) + ": ";
    return survey.add_broken(said.starts_with(who) ? said.substr(who.size()) : said);
  }
  const std::uint64_t hash = hash64(bytes);
  try {
    const ImageHeader header = decode_image(bytes).header;
    survey.add_image(
        hash, header.height, header.width,
        {std::string(format_name(header.format)), header.mode, header.conversions.text(), header.channels});
  } catch (const Error& error) {
    if (is_named_as_image(name) || begins_as_image(bytes)) return survey.add_broken(error.what());
    survey.add_other(hash);
  }
}

}  // namespace

std::vector<std::int64_t> Survey::files_in(FileState state) const {
  std::vector<std::int64_t> files;
  for (std::int64_t i = 0; i < count(); ++i)
    if ((*this)[first_ + i].state == state) files.push_back(first_ + i);
  return files;
}

void Survey::add_image(std::uint64_t hash, std::int64_t height, std::int64_t width, const ImageEncoding& encoding) {
  files_.push_back({hash, static_cast<std::uint16_t>(height), static_cast<std::uint16_t>(width), number_of(encoding),
                    FileState::image});
}

void Survey::add_broken(std::string reason) {
  broken_.emplace_hint(broken_.end(), first_ + count(), utf8_text(reason));
  files_.push_back({.state = FileState::broken});
}

void Survey::add_other(std::uint64_t hash) {
  files_.push_back({.hash = hash, .state = FileState::other});
}

void Survey::append(const Survey& next) {
  if (next.first_ != first_ + count())
    fail("the pass over the files has parts that do not follow each other: file {} comes after file {}", next.first_,
         first_ + count() - 1);
  files_.reserve(files_.size() + next.files_.size());
  for (SurveyedFile file : next.files_) {
    if (file.state == FileState::image) file.encoding = number_of(next.encodings_[file.encoding]);
    files_.push_back(file);
  }
  broken_.insert(next.broken_.begin(), next.broken_.end());
}

std::uint16_t Survey::number_of(const ImageEncoding& encoding) {
  const auto found = std::ranges::find(encodings_, encoding);
  if (found == encodings_.end()) {
    if (encodings_.size() > std::numeric_limits<std::uint16_t>::max()) fail("images are encoded in too many ways");
    encodings_.push_back(encoding);
    return static_cast<std::uint16_t>(encodings_.size() - 1);
  }
  return static_cast<std::uint16_t>(found - encodings_.begin());
}

std::string Survey::packed() const {
  static_assert(std::is_trivially_copyable_v<SurveyedFile> && sizeof(SurveyedFile) == 16);
  nlohmann::json head{{"first", first_}, {"files", count()}};
  for (const ImageEncoding& one : encodings_)
    head["encodings"].push_back({one.format, one.mode, one.converted, one.channels});
  for (const auto& [file, reason] : broken_) head["broken"].push_back({file, reason});
  std::string packed = head.dump() + "\n";
  packed.append(reinterpret_cast<const char*>(files_.data()), files_.size() * sizeof(SurveyedFile));
  return packed;
}

Survey Survey::unpacked(std::string_view packed, const std::string& what) {
  const std::size_t end = std::min(packed.find('\n'), packed.size());
  const nlohmann::json head = parse_json(packed.substr(0, end), what);
  const std::string_view records = packed.substr(std::min(end + 1, packed.size()));
  Survey survey(json_member<std::int64_t>(head, "first", what));
  const auto files = json_member<std::uint64_t>(head, "files", what);
  if (records.size() % sizeof(SurveyedFile) != 0 || records.size() / sizeof(SurveyedFile) != files)
    fail("{}: holds {} bytes about {} files", what, records.size(), files);
  try {
    for (const auto& one : head.value("encodings", nlohmann::json::array()))
      survey.encodings_.push_back({one.at(0), one.at(1), one.at(2), one.at(3)});
    for (const auto& one : head.value("broken", nlohmann::json::array()))
      survey.broken_.emplace(one.at(0).get<std::int64_t>(), one.at(1).get<std::string>());
  } catch (const nlohmann::json::exception&) {
    fail("{}: is no result of a pass over files", what);
  }
  survey.files_.resize(static_cast<std::size_t>(files));
  if (files > 0) std::memcpy(survey.files_.data(), records.data(), records.size());
  for (const SurveyedFile& file : survey.files_)
    if (file.state > FileState::other || (file.state == FileState::image && file.encoding >= survey.encodings_.size()))
      fail("{}: is no result of a pass over files", what);
  return survey;
}

Survey survey_files(const FileSet& files, std::int64_t first, std::int64_t count) {
  Survey survey(first);
  for (std::int64_t file = first; file < first + count; ++file) survey_file(files, file, survey);
  return survey;
}

std::string broken_text(const FileSet& files, const Survey& survey, std::size_t most) {
  std::string text;
  std::size_t told = 0;
  for (const auto& [file, reason] : survey.broken()) {
    if (told == most) return text + fmt::format("\n  and {} more", survey.broken().size() - told);
    text += fmt::format("{}  {}: {}", told++ == 0 ? "" : "\n", shown_name(files.name(file)), reason);
  }
  return text;
}

}  // namespace couplet
