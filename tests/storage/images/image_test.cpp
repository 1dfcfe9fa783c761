// Encoded images: their pixels against Pillow's, and what is refused.
#include "storage/images/image.h"

#include "tests/storage/images/image_references.h"
#include "tests/storage/storage_testing.h"

#include <algorithm>
#include <span>
#include <thread>

namespace couplet::testing {
namespace {

using Encoded = std::vector<std::byte>;

Encoded bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string big_endian(std::uint64_t number, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(number >> shift);
  return text;
}

void expect_refused(const Encoded& bytes, const std::vector<std::string>& parts) {
  expect_error([&] { decode_image(bytes); }, parts);
}

/// Both by the whole and by the header.
void expect_header_refused(const Encoded& bytes, const std::vector<std::string>& parts) {
  expect_refused(bytes, parts);
  expect_error([&] { read_image_header(bytes, bytes.size()); }, parts);
}

TEST(Images, PixelsAreThoseOfPillow) {
  const ImageReferences references;
  EXPECT_GT(references.names().size(), 40u);
  for (const std::string& name : references.names()) {
    const Encoded encoded = references.encoded(name);
    const Picture expected = references.pixels(name);
    const DecodedImage found = decode_image(encoded);
    EXPECT_EQ(found.picture.height, expected.height) << name;
    EXPECT_EQ(found.picture.width, expected.width) << name;
    EXPECT_EQ(found.picture.channels, expected.channels) << name;
    EXPECT_EQ(found.picture.pixels, expected.pixels) << name;
    const auto header = read_image_header(encoded, encoded.size());
    ASSERT_TRUE(header) << name;
    for (const ImageHeader& one : {*header, found.header}) {
      EXPECT_EQ(one.height, expected.height) << name;
      EXPECT_EQ(one.width, expected.width) << name;
      EXPECT_EQ(one.channels, expected.channels) << name;
      EXPECT_TRUE(name.starts_with(one.format == ImageFormat::png    ? "png"
                                   : one.format == ImageFormat::jpeg ? "jpeg"
                                                                     : "webp"))
          << name;
    }
  }
}

TEST(Images, WhatIsConvertedIsSaid) {
  const ImageReferences references;
  const auto expect = [&](const std::string& name, const std::string& mode, const std::string& conversions) {
    const DecodedImage image = decode_image(references.encoded(name));
    EXPECT_EQ(image.header.mode, mode) << name;
    EXPECT_EQ(image.header.conversions.text(), conversions) << name;
  };
  expect("png-0-8-false-7-13", "grey", "");
  expect("png-0-1-true-7-13", "grey, 1 bit", "1, 2 or 4 bits widened to 8, interlaced or progressive");
  expect("png-2-16-false-7-13", "RGB, 16 bits", "16 bits cut to the upper 8");
  expect("png-4-8-false-7-13", "grey + alpha", "alpha dropped");
  expect("png-6-16-true-7-13", "RGB + alpha, 16 bits",
         "16 bits cut to the upper 8, alpha dropped, interlaced or progressive");
  expect("png-palette-4-trns", "palette + alpha, 4 bits", "palette, alpha dropped");
  expect("png-grey-trns", "grey + alpha", "alpha dropped");
  expect("jpeg-cmyk-33-47", "CMYK", "CMYK turned into RGB");
  expect("jpeg-grey-33-47-quality-30-progressive-true-optimize-false", "grey", "interlaced or progressive");
  expect("jpeg-turned-8-8", "RGB", "EXIF orientation not applied");
  expect("webp-33-47-3-true", "RGB", "");
  expect("webp-33-47-4-false", "RGB + alpha", "alpha dropped");
}

TEST(Images, HeaderIsReadFromFirstBytes) {
  const ImageReferences references;
  for (const char* name : {"png-2-8-false-7-13", "jpeg-ycck-33-47", "webp-33-47-3-false", "webp-33-47-4-true"}) {
    const Encoded encoded = references.encoded(name);
    const std::span<const std::byte> all(encoded);
    std::size_t needed = 12;
    while (!read_image_header(all.first(needed), encoded.size())) ++needed;
    EXPECT_LT(needed, std::string_view(name).starts_with("jpeg") ? encoded.size() : 80u) << name;
    const auto header = read_image_header(all.first(needed), encoded.size());
    EXPECT_EQ(header->height, references.pixels(name).height);
    EXPECT_EQ(header->width, references.pixels(name).width);
  }
}

TEST(Images, TruncatedOnesAreErrorsWhereverTheyEnd) {
  const ImageReferences references;
  for (const std::string& name : references.names()) {
    if (name.find("13") == std::string::npos && name.find("webp") == std::string::npos &&
        name.find("jpeg-turned") == std::string::npos && name.find("cmyk") == std::string::npos)
      continue;
    Encoded encoded = references.encoded(name);
    while (!encoded.empty()) {
      encoded.pop_back();
      expect_refused(encoded, {});
    }
  }
}

TEST(Images, ADamagedPngIsAnErrorWhereverItIsDamaged) {
  const ImageReferences references;
  for (const std::string& name : references.names("png")) {
    const Encoded whole = references.encoded(name);
    const Picture expected = references.pixels(name);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      Encoded damaged = whole;
      damaged[i] ^= std::byte{0x10};
      try {
        EXPECT_EQ(decode_image(damaged).picture.pixels, expected.pixels) << name << " at " << i;
      } catch (const Error&) {
      }
    }
  }
}

TEST(Images, AJpegWhosePixelsAreDamagedIsAnError) {
  const ImageReferences references;
  Encoded encoded = references.encoded("jpeg-rgb-33-47-2-quality-30-progressive-false-optimize-true");
  const std::size_t middle = encoded.size() - 60;
  // A marker in the midst of a scan: the rest of the pixels would be grey.
  Encoded damaged = encoded;
  damaged[middle] = std::byte{0xff};
  damaged[middle + 1] = std::byte{0xd9};
  expect_refused(damaged, {"damaged JPEG"});
  // Some bytes before the last marker, as cameras leave them, change nothing.
  encoded.insert(encoded.end() - 2, 30, std::byte{0});
  const DecodedImage image = decode_image(encoded);
  EXPECT_TRUE(image.header.conversions.has(Conversion::surplus));
  EXPECT_EQ(image.picture.pixels,
            references.pixels("jpeg-rgb-33-47-2-quality-30-progressive-false-optimize-true").pixels);
}

TEST(Images, ADamagedWebpIsAnError) {
  const ImageReferences references;
  Encoded encoded = references.encoded("webp-33-47-3-true");
  encoded[21] ^= std::byte{0xff};
  expect_refused(encoded, {"damaged WebP"});
}

TEST(Images, OtherFormatsAreNamed) {
  expect_header_refused({}, {"empty"});
  for (const auto& [start, name] :
       std::vector<std::pair<std::string, std::string>>{{"GIF89a", "a GIF file"},
                                                        {"BM6", "a BMP file"},
                                                        {std::string("II*\0", 4), "a TIFF file"},
                                                        {std::string("\0\0\0\x1c", 4) + "ftypavif", "an AVIF file"},
                                                        {"P6\n2 2", "a PNM file"},
                                                        {"PK\3\4", "a zip archive"},
                                                        {"version https://git-lfs.github.com/spec/v1", "Git LFS"},
                                                        {"no picture at all", "no image"}})
    expect_header_refused(bytes_of(start), {name, "PNG, JPEG or WebP"});
}

/// A PNG's first chunk, and what comes after it.
Encoded png_claiming(std::uint64_t width, std::uint64_t height, const std::string& kind = {8, 2, 0, 0, 0}) {
  return bytes_of("\x89PNG\r\n\x1a\n" + big_endian(13, 4) + "IHDR" + big_endian(width, 4) + big_endian(height, 4) +
                  kind);
}

TEST(Images, SizesThatPngClaimsAreBounded) {
  expect_header_refused(png_claiming(20'000, 8), {"20000 x 8", "16384 a side"});
  expect_header_refused(png_claiming(16'384, 16'384), {"16384 x 16384", "178956970 pixels"});
  expect_header_refused(png_claiming(0, 8), {"0 x 8"});
  expect_header_refused(png_claiming(4'000, 4'000), {"truncated", "29 bytes", "4000 x 4000"});
  expect_header_refused(png_claiming(8, 8, {7, 2, 0, 0, 0}), {"colour type 2 of 7 bits"});
}

/// A grey JPEG of one block of 8 x 8 and of that many scans, in each of which it is black's and white's mean.
Encoded jpeg_of_scans(int scans, std::uint64_t height = 8, std::uint64_t width = 8, char frame = '\xc2') {
  std::string bytes = "\xff\xd8\xff\xdb" + big_endian(67, 2) + std::string(1, '\0') + std::string(64, '\1') + "\xff" +
                      frame + big_endian(11, 2) + "\x8" + big_endian(height, 2) + big_endian(width, 2) +
                      std::string("\1\1\x11\0", 4) + "\xff\xc4" + big_endian(20, 2) + std::string("\0\1", 2) +
                      std::string(15, '\0') + std::string(1, '\0');
  for (int i = 0; i < scans; ++i) bytes += "\xff\xda" + big_endian(8, 2) + std::string("\1\1\0\0\0\0", 6) + "\x7f";
  return bytes_of(bytes + "\xff\xd9");
}

TEST(Images, SizesAndScansThatJpegClaimsAreBounded) {
  const DecodedImage plain = decode_image(jpeg_of_scans(1));
  EXPECT_EQ(plain.picture.pixels, std::vector<std::uint8_t>(64, 128));
  EXPECT_EQ(decode_image(jpeg_of_scans(400)).picture.pixels, plain.picture.pixels);
  expect_refused(jpeg_of_scans(600), {"more than 500 scans"});
  expect_header_refused(jpeg_of_scans(1, 8, 20'000), {"20000 x 8", "16384 a side"});
  expect_header_refused(jpeg_of_scans(1, 8'000, 8'000), {"truncated", "8000 x 8000"});
  expect_header_refused(jpeg_of_scans(1, 8, 8, '\xca'), {"arithmetic coding"});
}

TEST(Images, AnAnimatedWebpIsRefused) {
  const std::string animation =
      "VP8X" + std::string("\x0a\0\0\0\2\0\0\0\7\0\0\7\0\0", 14) + "ANIM" + std::string("\6\0\0\0\0\0\0\0\0\0", 10);
  expect_header_refused(bytes_of("RIFF" + std::string("\x2c\0\0\0", 4) + "WEBP" + animation), {"WebP animation"});
}

TEST(Images, AreDecodedBySeveralThreadsAtOnce) {
  const ImageReferences references;
  std::vector<Encoded> encoded;
  std::vector<Picture> expected;
  for (const std::string& name : references.names()) {
    encoded.push_back(references.encoded(name));
    expected.push_back(references.pixels(name));
  }
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int& count : wrong)
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < encoded.size(); ++i) {
        count += decode_image(encoded[i]).picture.pixels != expected[i].pixels;
        try {
          decode_image(std::span<const std::byte>(encoded[i]).first(encoded[i].size() / 2));
          ++count;
        } catch (const Error&) {
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

}  // namespace
}  // namespace couplet::testing
