#include "storage/library_versions.h"

#include <H5public.h>
#include <fmt/format.h>
#include <jpeglib.h>
#include <libdeflate.h>
#include <png.h>
#include <webp/decode.h>
#include <xxhash.h>
#include <zip.h>
#include <zlib.h>
#include <cstdio>

namespace couplet {

namespace {

#define COUPLET_TEXT_OF(tokens) #tokens
#define COUPLET_TEXT(macro) COUPLET_TEXT_OF(macro)

std::string jpeg_version() {
#ifdef LIBJPEG_TURBO_VERSION
  return COUPLET_TEXT(LIBJPEG_TURBO_VERSION) " (libjpeg-turbo)";
#else
  return COUPLET_TEXT(JPEG_LIB_VERSION);
#endif
}

}  // namespace

std::vector<std::pair<std::string, std::string>> storage_library_versions() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const int webp = WebPGetDecoderVersion();
  const unsigned xxhash = XXH_versionNumber();
  return {{"HDF5", fmt::format("{}.{}.{}", major, minor, release)},
          {"libpng", png_get_libpng_ver(nullptr)},
          {"libjpeg", jpeg_version()},
          {"libwebp", fmt::format("{}.{}.{}", webp >> 16, webp >> 8 & 0xff, webp & 0xff)},
          {"zlib", zlibVersion()},
          {"libdeflate", LIBDEFLATE_VERSION_STRING},
          {"libzip", zip_libzip_version()},
          {"xxHash", fmt::format("{}.{}.{}", xxhash / 10000, xxhash / 100 % 100, xxhash % 100)}};
}

}  // namespace couplet
