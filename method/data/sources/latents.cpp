// Latents that were made elsewhere: as a file a row, or as arrays of all rows.
#include "method/data/image_source.h"
#include "method/data/latent_arrays.h"
#include "method/data/latent_files.h"
#include "storage/filesystem.h"
#include "storage/formats/array_folder.h"

namespace couplet {
namespace {

ImageSource open_latents(const SourceOptions& options) {
  return are_latent_arrays(options.folder) ? open_latent_arrays(options) : open_latent_files(options);
}

/// None where there is a file a row: the contents are those of its files, which the first pass has read.
std::vector<SourceFile> latent_source_files(const SourceOptions& options) {
  if (!is_there(options.folder)) return {{options.folder, "prepare.source"}};
  std::vector<SourceFile> files;
  if (are_latent_arrays(options.folder))
    for (const std::filesystem::path& path : array_files(options.folder)) files.push_back({path, "prepare.source"});
  return files;
}

}  // namespace

SourceKind latents_source() {
  return {.name = "latents",
          .help = "latents that were made elsewhere, .npy files or arrays (docs/latents.md)",
          .open = open_latents,
          .files = latent_source_files,
          .codec = "latent"};
}

}  // namespace couplet
