#include "storage/formats/picture.h"

#include "tests/storage/storage_testing.h"

namespace couplet::testing {
namespace {

Picture sample_picture(std::int64_t channels) {
  Picture picture{5, 7, channels, {}};
  for (std::int64_t i = 0; i < 35 * channels; ++i) picture.pixels.push_back(static_cast<std::uint8_t>(i * 37));
  return picture;
}

TEST(Picture, PngReturnsEqualPixels) {
  const Folder folder;
  for (const std::int64_t channels : {1, 3}) {
    const Picture picture = sample_picture(channels);
    write_png(folder / "a.png", picture);
    const Picture found = read_png(folder / "a.png");
    EXPECT_EQ(found.height, 5);
    EXPECT_EQ(found.width, 7);
    EXPECT_EQ(found.channels, channels);
    EXPECT_EQ(found.pixels, picture.pixels);
    EXPECT_EQ(encode_png(picture), encode_png(picture));
    EXPECT_EQ(encode_png(picture), read_bytes(folder / "a.png"));
    EXPECT_EQ(encode_png(picture).find("tIME"), std::string::npos);
  }
}

/// A 2 x 1 palette picture of red and half-transparent blue with a gamma chunk, made elsewhere (Python's zlib and
/// struct).
TEST(Picture, OtherKindsOfPngBecomeRgb) {
  const Folder folder;
  write_bytes(folder / "make.py", R"(
import struct, sys, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0))
png += chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"PLTE", bytes([200, 10, 20, 30, 40, 250]))
png += chunk(b"tRNS", bytes([255, 128])) + chunk(b"IDAT", zlib.compress(bytes([0, 0, 1]))) + chunk(b"IEND", b"")
open(sys.argv[1], "wb").write(png)
)");
  const auto made =
      run_command("/usr/bin/python3 " + (folder / "make.py").string() + " " + (folder / "a.png").string());
  if (made.status != 0) GTEST_SKIP() << "no Python here: " << made.output;
  const Picture picture = read_png(folder / "a.png");
  EXPECT_EQ(picture.channels, 3);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{200, 10, 20, 30, 40, 250}));
}

TEST(Picture, DamagedPngIsAnErrorThatNamesTheFile) {
  const Folder folder;
  const std::string whole = encode_png(sample_picture(3));
  for (std::size_t size = 0; size < whole.size() - 12; size += 5) {
    write_bytes(folder / "a.png", whole.substr(0, size));
    expect_error([&] { read_png(folder / "a.png"); }, {"a.png", "no PNG file that can be read"});
  }
  std::string flipped = whole;
  flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 1);
  write_bytes(folder / "a.png", flipped);
  expect_error([&] { read_png(folder / "a.png"); }, {"a.png"});
  write_bytes(folder / "a.png", "no picture at all");
  expect_error([&] { read_png(folder / "a.png"); }, {"a.png", "PNG"});
}

/// The first bytes of a PNG file of that size, made here; what follows is missing.
std::string png_start(std::uint32_t width, std::uint32_t height) {
  std::string bytes("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16);
  for (const std::uint32_t side : {width, height})
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(side >> shift);
  return bytes + std::string("\x08\x02\0\0\0", 5);
}

TEST(Picture, SizesThatAFileClaimsAreRefusedBeforeMemoryIsTaken) {
  const Folder folder;
  const auto expect = [&](std::uint32_t width, std::uint32_t height, const std::vector<std::string>& parts) {
    write_bytes(folder / "a.png", png_start(width, height));
    expect_error([&] { read_png(folder / "a.png"); }, parts);
    expect_error([&] { read_png_header(folder / "a.png"); }, parts);
  };
  expect(60'000, 60'000, {"a.png", "60000 x 60000", "at most 178956970 pixels"});
  expect(~0u, 1, {"a.png", "4294967295 x 1"});
  expect(~0u, ~0u, {"a.png", "4294967295 x 4294967295"});
  expect(0, 8, {"a.png", "no PNG file that can be read", "0 x 8"});
  expect(8, 0, {"a.png", "8 x 0"});
  // What 29 bytes cannot hold, however well it is packed.
  expect(16'384, 8'192, {"a.png", "truncated", "29 bytes", "16384 x 8192"});
  write_bytes(folder / "a.png", png_start(80, 80));
  EXPECT_EQ(read_png_header(folder / "a.png").width, 80);
  Picture black{4096, 4096, 1, std::vector<std::uint8_t>(std::size_t{1} << 24, 0)};
  write_png(folder / "black.png", black);
  EXPECT_EQ(read_png(folder / "black.png").pixels, black.pixels);
}

TEST(Picture, ImpossiblePicturesAreRefused) {
  Picture picture = sample_picture(3);
  picture.pixels.pop_back();
  expect_error([&] { encode_png(picture); }, {"5 x 7", "104 bytes", "105 bytes"});
  expect_error([&] { encode_png(sample_picture(2)); }, {"2 channels"});
}

TEST(Picture, GridPutsImagesRowByRow) {
  // Three RGB images of 1 x 2 pixels; value = 100 * image + 10 * channel + x.
  std::vector<std::uint8_t> images;
  for (int i = 0; i < 3; ++i)
    for (int c = 0; c < 3; ++c)
      for (int x = 0; x < 2; ++x) images.push_back(static_cast<std::uint8_t>(50 * i + 10 * c + x));
  const Picture grid = picture_grid(images, 3, 3, 1, 2, 2, 1);
  EXPECT_EQ(grid.height, 3);
  EXPECT_EQ(grid.width, 5);
  EXPECT_EQ(grid.channels, 3);
  EXPECT_EQ(grid.pixels,
            (std::vector<std::uint8_t>{0,   10,  20,  1,   11,  21,  255, 255, 255, 50,  60,  70,  51,  61,  71,   //
                                       255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,  //
                                       100, 110, 120, 101, 111, 121, 255, 255, 255, 255, 255, 255, 255, 255, 255}));
  EXPECT_EQ(picture_grid(images, 3, 3, 1, 2, 10, 0).width, 6);
  expect_error([&] { picture_grid(images, 4, 3, 1, 2, 2); }, {"4 images", "18 bytes"});
}

}  // namespace
}  // namespace couplet::testing
