// Streams of samples that are known beforehand, written in every form and read back by NumPy and by libpng.
#include "method/sampling/sample_output.h"

#include "tests/storage/storage_testing.h"

#include "storage/formats/picture.h"

#include <ATen/ATen.h>

#include <iterator>
#include <limits>

namespace couplet::testing {
namespace {

constexpr std::int64_t height = 3, width = 5;

/// Of sample i, channel c, row y, column x: (i + 50 c + 10 y + x) mod 256.
std::int64_t grey(std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) {
  return (i + 50 * c + 10 * y + x) % 256;
}

Integrated known_samples(std::int64_t first, std::int64_t count, std::int64_t channels) {
  at::Tensor images = at::zeros({count, channels, height, width});
  for (std::int64_t i = 0; i < count; ++i)
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t y = 0; y < height; ++y)
        for (std::int64_t x = 0; x < width; ++x)
          images[i][c][y][x] = static_cast<double>(grey(first + i, c, y, x)) / 127.5 - 1;
  return {images, 4 + first};
}

/// Classes 0, 1, 2, 0, ...
at::Tensor labels(std::int64_t first, std::int64_t count) {
  return at::arange(first, first + count, at::kLong).remainder(3);
}

class SampleOutputs : public ::testing::TestWithParam<std::int64_t> {
protected:
  SampleStream stream(std::int64_t samples) {
    return {samples,
            4,
            {GetParam(), height, width},
            [this](std::int64_t first, std::int64_t count) {
              EXPECT_EQ(count, 4) << "every slice is made with all its rows";
              return known_samples(first, count, GetParam());
            },
            *communicator};
  }
  void write(const std::string& name, std::int64_t samples) {
    SampleStream source = stream(samples);
    SampleOutput(folder / name, samples).write(source, labels, 4);
  }

  std::unique_ptr<Communicator> communicator = make_single_communicator();
  Folder folder;
};

TEST_P(SampleOutputs, NumpyReadsTheArchive) {
  write("x.npz", 10);
  write_bytes(folder / "script.py", R"(
import numpy, sys
arrays = numpy.load(sys.argv[1])
i, y, x, c = numpy.indices(arrays["arr_0"].shape)
print(list(arrays), arrays["arr_0"].dtype, arrays["arr_0"].shape, (arrays["arr_0"] == (i + 50 * c + 10 * y + x) % 256).all())
print(arrays["arr_1"].dtype, arrays["arr_1"].tolist())
)");
  const auto read =
      run_command("/usr/bin/python3 " + (folder / "script.py").string() + " " + (folder / "x.npz").string());
  EXPECT_EQ(read.output, fmt::format("['arr_0', 'arr_1'] uint8 (10, 3, 5, {}) True\n"
                                     "int64 [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]\n",
                                     GetParam()));
}

TEST_P(SampleOutputs, AFolderHoldsAPictureASample) {
  write("x", 10);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "x"), {}), 10);
  for (std::int64_t i = 0; i < 10; ++i) {
    const Picture picture = read_png(folder / fmt::format("x/{:06d}-class-{}.png", i, i % 3));
    ASSERT_EQ((std::vector{picture.height, picture.width, picture.channels}), (std::vector{height, width, GetParam()}));
    std::vector<std::uint8_t> expected;
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x)
        for (std::int64_t c = 0; c < GetParam(); ++c) expected.push_back(static_cast<std::uint8_t>(grey(i, c, y, x)));
    EXPECT_EQ(picture.pixels, expected) << "sample " << i;
  }
}

TEST_P(SampleOutputs, APictureShowsAllOfThem) {
  write("x.png", 10);
  const Picture picture = read_png(folder / "x.png");
  EXPECT_EQ(picture.height, 3 * height + 2 * 2);
  EXPECT_EQ(picture.width, 4 * width + 3 * 2);
  const std::int64_t top = 2 * (height + 2), left = width + 2;  // of sample 9
  EXPECT_EQ(picture.pixels[static_cast<std::size_t>((top * picture.width + left) * picture.channels)], 9);
}

INSTANTIATE_TEST_SUITE_P(GreyAndColour, SampleOutputs, ::testing::Values(1, 3));

TEST(SampleStream, CountsWhatItMade) {
  const auto communicator = make_single_communicator();
  SampleStream stream(
      10, 4, {1, height, width},
      [](std::int64_t first, std::int64_t count) {
        Integrated made = known_samples(first, count, 1);
        if (first == 4) made.x[2][0][1][1] = std::numeric_limits<float>::quiet_NaN();
        if (first == 4) made.x[3][0][0][0] = std::numeric_limits<float>::infinity();
        if (first == 8) made.x[2].fill_(std::numeric_limits<float>::quiet_NaN());  // sample 10, beyond the last
        return made;
      },
      *communicator);
  std::vector<at::Tensor> slices;
  while (!stream.done()) slices.push_back(stream.next());
  EXPECT_EQ(slices[0].size(0), 4);
  EXPECT_EQ(slices[2].size(0), 2);
  const at::Tensor images = at::cat(slices);
  EXPECT_EQ(images.scalar_type(), at::kByte);
  EXPECT_EQ(images[6][0][1][1].item<int>(), 0);
  EXPECT_EQ(images[7][0][0][0].item<int>(), 255);
  const SampleTally& tally = stream.tally();
  EXPECT_EQ(tally.samples, 10);
  EXPECT_EQ(tally.nonfinite, 2);
  EXPECT_EQ(tally.first_nonfinite, 6);
  EXPECT_EQ(tally.nfe_least, 4);
  EXPECT_EQ(tally.nfe_most, 12);
  EXPECT_DOUBLE_EQ(tally.nfe_mean(), (4 * 4 + 8 * 4 + 12 * 2) / 10.0);
  expect_error([&] { stream.next(); }, {"10 samples were taken already"});
}

TEST(SampleOutput, APictureTooLargeIsRefusedBeforeASampleIsMade) {
  const Folder folder;
  const auto communicator = make_single_communicator();
  SampleStream stream(
      9000, 4, {3, 256, 256},
      [](std::int64_t, std::int64_t) -> Integrated {
        ADD_FAILURE() << "a sample is made";
        fail("made");
      },
      *communicator);
  expect_error([&] { SampleOutput(folder / "x.png", 9000).write(stream, labels, 4); },
               {"x.png", "9000 samples of 3x256x256", ".npz"});
  EXPECT_TRUE(folder.names().empty());
}

TEST(SampleOutput, AnErrorLeavesWhatWasThere) {
  const Folder folder;
  const auto communicator = make_single_communicator();
  write_bytes(folder / "x.npz", "old");
  write_bytes(folder / "x.png", "old");
  fs::create_directory(folder / "x");
  for (const std::string name : {"x.npz", "x.png", "x"}) {
    SampleStream stream(
        10, 4, {1, height, width},
        [](std::int64_t first, std::int64_t count) {
          if (first == 8) fail("the device is gone");
          return known_samples(first, count, 1);
        },
        *communicator);
    expect_error([&] { SampleOutput(folder / name, 10, true).write(stream, labels, 4); }, {"the device is gone"});
  }
  EXPECT_EQ(read_bytes(folder / "x.npz"), "old");
  EXPECT_EQ(read_bytes(folder / "x.png"), "old");
  EXPECT_TRUE(fs::is_empty(folder / "x"));
  EXPECT_EQ(folder.names().size(), 3u);
}

}  // namespace
}  // namespace couplet::testing
