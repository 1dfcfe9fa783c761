#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/picture.h"

#include <algorithm>

namespace couplet {

namespace {

const char* kind_name(PictureKind kind) {
  switch (kind) {
    case PictureKind::grid:
      return "grid";
    case PictureKind::teacher:
      return "teacher";
    case PictureKind::trajectory:
      return "trajectory";
    case PictureKind::nearest:
      return "nearest";
    case PictureKind::reconstructed:
      return "reconstructed";
    case PictureKind::restored:
      return "restored";
  }
  return "";
}

/// The file's bytes; of a sheet of images of this height its upper rows, unless it has no more, or is of other images.
std::string upper_rows(const std::filesystem::path& path, std::int64_t rows, std::int64_t image_height) {
  if (rows == 0 || image_height == 0) return read_file(path);
  Picture picture = read_png(path);
  const std::int64_t row = image_height + picture_gap, height = rows * row - picture_gap;
  if ((picture.height + picture_gap) % row != 0 || height >= picture.height) return read_file(path);
  picture.height = height;
  picture.pixels.resize(static_cast<std::size_t>(picture.height * picture.width * picture.channels));
  return encode_png(picture);
}

}  // namespace

Json picture_json(const Page& page, const RunReport& run, const SamplePicture& picture, std::int64_t rows) {
  const bool there = std::filesystem::exists(picture.path);
  return {{"kind", kind_name(picture.kind)},
          {"run", page.run_prefix(run)},
          {"student", picture.student},
          {"name", page.name(run, picture.student)},
          {"nfe", picture.nfe > 0 ? Json(picture.nfe) : Json()},
          {"solver", picture.solver},
          {"grid", picture.grid},
          {"denoised", picture.denoised},
          {"path", picture.path.lexically_proximate(page.data.folder).string()},
          {"file", picture.path.filename().string()},
          {"there", there},
          {"png", there ? Json(base64(upper_rows(picture.path, rows, run.image_height))) : Json()}};
}

Json pictures_json(const Page& page, PictureKind kind) {
  struct Found {
    const RunReport* run;
    const SamplePicture* picture;
  };
  std::vector<Found> found;
  for (const RunReport& run : page.data.runs) {
    for (const SamplePicture& picture : run.pictures)
      if (picture.kind == kind) found.push_back({&run, &picture});
  }
  std::ranges::stable_sort(found, {},
                           [&](const Found& each) { return page.place(each.run->name, each.picture->student); });
  Json all = Json::array();
  for (const auto& [run, picture] : found) all.push_back(picture_json(page, *run, *picture));
  return all;
}

}  // namespace couplet
