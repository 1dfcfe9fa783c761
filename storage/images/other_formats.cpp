#include "storage/images/other_formats.h"

#include <array>
#include <string_view>

namespace couplet {
namespace {

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view what;
};

using namespace std::string_view_literals;

constexpr std::array signatures{
    Signature{0, "GIF8"sv, "a GIF file"},
    Signature{0, "BM"sv, "a BMP file"},
    Signature{0, "II*\0"sv, "a TIFF file"},
    Signature{0, "MM\0*"sv, "a TIFF file"},
    Signature{0, "II+\0"sv, "a BigTIFF file"},
    Signature{0, "MM\0+"sv, "a BigTIFF file"},
    Signature{4, "jP  \r\n\x87\n"sv, "a JPEG 2000 file"},
    Signature{0, "\xff\x4f\xff\x51"sv, "a JPEG 2000 file"},
    Signature{4, "JXL \r\n\x87\n"sv, "a JPEG XL file"},
    Signature{0, "\xff\x0a"sv, "a JPEG XL file"},
    Signature{4, "ftypavif"sv, "an AVIF file"},
    Signature{4, "ftypheic"sv, "a HEIC file"},
    Signature{4, "ftypmif1"sv, "a HEIF file"},
    Signature{4, "ftyp"sv, "a HEIF, AVIF or video file"},
    Signature{0, "8BPS"sv, "a Photoshop file"},
    Signature{0, "\0\0\1\0"sv, "an icon (ICO)"},
    Signature{0, "%PDF"sv, "a PDF file"},
    Signature{0, "PK\3\4"sv, "a zip archive"},
    Signature{0, "\x1f\x8b"sv, "a gzip file"},
    Signature{0, "\x93NUMPY"sv, "a NumPy array (.npy)"},
    Signature{0, "\x89HDF\r\n"sv, "an HDF5 file"},
    Signature{0, "<svg"sv, "an SVG file"},
    Signature{0, "<?xml"sv, "an XML file"},
    Signature{0, "<!DOCTYPE"sv, "a web page"},
    Signature{0, "<html"sv, "a web page"},
    Signature{0, "version https://git-lfs"sv, "a pointer of Git LFS to a file that was not fetched"},
};

}  // namespace

std::string other_format(std::span<const std::byte> start) {
  const std::string_view text(reinterpret_cast<const char*>(start.data()), start.size());
  for (const auto& [offset, bytes, what] : signatures)
    if (text.size() >= offset && text.substr(offset).starts_with(bytes)) return std::string(what);
  // PBM, PGM, PPM, PAM: a P, a digit, and white space.
  if (text.size() > 2 && text[0] == 'P' && text[1] >= '1' && text[1] <= '7' && (text[2] == '\n' || text[2] == ' '))
    return "a PNM file";
  return "";
}

}  // namespace couplet
