#include "stages/data/run_source.h"

#include "storage/error.h"

#include <filesystem>

namespace couplet {

SourceOptions source_options(const PrepareConfig& config) {
  return {config.source, config.train_images, config.train_labels, config.test_images, config.test_labels};
}

ImageSource open_source(const PrepareConfig& config) {
  return find_source(config.format).open(source_options(config));
}

std::vector<SourceFile> source_files(const PrepareConfig& config) {
  const SourceKind& kind = find_source(config.format);
  return kind.files == nullptr ? std::vector<SourceFile>{} : kind.files(source_options(config));
}

void require_source(const PrepareConfig& config) {
  for (const SourceFile& file : source_files(config))
    if (!std::filesystem::exists(file.path)) refuse("{}: there is no file {}", file.key, file.path.string());
}

}  // namespace couplet
