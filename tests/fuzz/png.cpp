// Images of others: PNG files.
#include "storage/formats/picture.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] { read_png_header(file.path()); });
  read_or_refuse([&] {
    const Picture picture = read_png(file.path());
    const Picture header = read_png_header(file.path());
    require(header.height == picture.height && header.width == picture.width && header.channels == picture.channels);
    // The pixels are all there, and survive.
    const FuzzedFile again(encode_png(picture));
    require(read_png(again.path()).pixels == picture.pixels);
  });
}
