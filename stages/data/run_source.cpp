#include "stages/data/run_source.h"

#include "storage/error.h"

namespace couplet {

SourceOptions source_options(const PrepareConfig& config) {
  return {config.source, config.train_images, config.train_labels, config.test_images, config.test_labels};
}

namespace {

std::vector<SourceFile> files_of(const PrepareConfig& config) {
  const SourceKind& kind = find_source(config.format);
  return kind.files == nullptr ? std::vector<SourceFile>{} : kind.files(source_options(config));
}

}  // namespace

ImageSource open_source(const PrepareConfig& config) {
  return find_source(config.format).open(source_options(config));
}

std::vector<std::filesystem::path> source_files(const PrepareConfig& config) {
  std::vector<std::filesystem::path> files;
  for (const SourceFile& file : files_of(config)) files.push_back(file.path);
  return files;
}

void require_source(const PrepareConfig& config) {
  for (const SourceFile& file : files_of(config))
    if (!std::filesystem::exists(file.path)) refuse("{}: there is no file {}", file.key, file.path.string());
}

}  // namespace couplet
