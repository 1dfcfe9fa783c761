// Archives that lie in a folder, as WebDataset's shards or ImageNet's classes do.
#include "storage/archives/file_set.h"
#include "storage/error.h"
#include "storage/files/hash.h"
#include "storage/filesystem.h"
#include "storage/text.h"

#include <algorithm>
#include <utility>

namespace couplet {
namespace {

class ArchivesOfFolder : public FileSet {
public:
  explicit ArchivesOfFolder(const fs::path& path) : FileSet(path) {
    const auto folder = open_folder(path);
    require_few_open(path, folder->count());
    for (std::int64_t i = 0; i < folder->count(); ++i) add(folder->name(i));
    std::ranges::sort(archives_, path_less, &Archive::name);
    std::vector<std::string> empty;
    for (const Archive& archive : archives_) {
      const auto twin = &archive - archives_.data();
      if (twin > 0 && archives_[static_cast<std::size_t>(twin) - 1].name == archive.name)
        refuse("{}: holds two archives of the name '{}'; rename one of them", utf8_text(path.string()),
               shown_name(archive.name));
      first_.push_back(count_);
      count_ += archive.files->count();
      if (archive.files->count() == 0) empty.push_back(archive.name);
      for (const std::string& name : archive.files->empty_folders()) empty.push_back(archive.name + "/" + name);
    }
    keep_empty(std::move(empty));
  }

  std::int64_t count() const override { return count_; }
  std::string name(std::int64_t file) const override {
    const Place place = place_of(file);
    return place.archive.name + "/" + place.archive.files->name(place.file);
  }
  std::uint64_t size(std::int64_t file) const override {
    const Place place = place_of(file);
    return place.archive.files->size(place.file);
  }
  std::string stamp() const override {
    std::string stamps;
    for (const Archive& archive : archives_) stamps += archive.name + "\n" + archive.files->stamp() + "\n";
    return hash_text(stamps);
  }
  std::string shown(std::int64_t file) const override {
    const Place place = place_of(file);
    return place.archive.files->shown(place.file);
  }

private:
  struct Archive {
    std::string name;  ///< without what follows its last dot
    std::unique_ptr<FileSet> files;
  };
  struct Place {
    const Archive& archive;
    std::int64_t file;  ///< of the archive
  };

  void add(const std::string& name) {
    const fs::path place = path() / fs::path(name);
    const FileSetKind kind = file_set_kind(place);
    if (kind != FileSetKind::zip && kind != FileSetKind::tar)
      refuse("{}: lies among zip and tar archives but is none that can be read; a folder holds archives alone, or none",
             shown_name(place.string()));
    const std::size_t dot = name.rfind('.'), last = name.rfind('/') + 1;  // npos + 1 is 0
    archives_.push_back({name.substr(0, dot == std::string::npos || dot <= last ? name.size() : dot),
                         kind == FileSetKind::zip ? open_zip(place) : open_tar(place)});
  }

  Place place_of(std::int64_t file) const {
    const auto after = std::ranges::upper_bound(first_, file);
    const auto number = static_cast<std::size_t>(after - first_.begin() - 1);
    return {archives_[number], file - first_[number]};
  }

  std::vector<std::byte> read_bytes(std::int64_t file) const override {
    const Place place = place_of(file);
    return place.archive.files->read(place.file);
  }

  std::vector<Archive> archives_;
  std::vector<std::int64_t> first_;  ///< the first file of each archive
  std::int64_t count_ = 0;
};

}  // namespace

std::unique_ptr<FileSet> open_folder_of_archives(const fs::path& path) {
  return std::make_unique<ArchivesOfFolder>(path);
}

}  // namespace couplet
