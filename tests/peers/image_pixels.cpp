// image_pixels: what becomes of images. Answers each request of standard input on standard output; both are a line, and
// pixels behind it:
//   decode BYTES                                  (and the encoded image) → as below
//   resample FILTER HEIGHT WIDTH H W C            (and H W C values)      → as below
//   crop KIND FILTER SIZE H W C                   (and H W C values)      → as below
// "H W C|what was decoded|conversions" and the values, or "refused|why".
#include "method/data/crop.h"
#include "storage/error.h"

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <span>
#include <sstream>
#include <string>

namespace couplet {
namespace {

void read_bytes(void* out, std::size_t count) {
  std::cin.read(static_cast<char*>(out), static_cast<std::streamsize>(count));
  if (!std::cin) fail("a request ends too early");
}

Picture read_picture(std::istream& words) {
  Picture picture;
  words >> picture.height >> picture.width >> picture.channels;
  picture.pixels.resize(static_cast<std::size_t>(picture.height * picture.width * picture.channels));
  read_bytes(picture.pixels.data(), picture.pixels.size());
  return picture;
}

void write_picture(const Picture& picture, const ImageHeader& header) {
  fmt::print("{} {} {}|{} {}|{}\n", picture.height, picture.width, picture.channels, format_name(header.format),
             header.mode, header.conversions.text());
  std::fwrite(picture.pixels.data(), 1, picture.pixels.size(), stdout);
}

void decode(std::istream& words) {
  std::size_t count = 0;
  words >> count;
  std::string bytes(count, '\0');
  read_bytes(bytes.data(), count);
  const DecodedImage image = decode_image(std::as_bytes(std::span(bytes)));
  write_picture(image.picture, image.header);
}

void answer(const std::string& line) {
  std::istringstream words(line);
  std::string what, kind, filter;
  words >> what;
  if (what == "decode") return decode(words);
  std::int64_t height = 0, width = 0;
  if (what == "resample") {
    words >> filter >> height >> width;
    return write_picture(resample(read_picture(words), height, width, find_resample_filter(filter)), {});
  }
  words >> kind >> filter >> height;
  write_picture(find_crop(kind).apply(read_picture(words), height, find_resample_filter(filter)), {});
}

}  // namespace
}  // namespace couplet

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    try {
      couplet::answer(line);
    } catch (const couplet::Error& error) {
      fmt::print("refused|{}\n", error.what());
    }
    std::fflush(stdout);
  }
}
