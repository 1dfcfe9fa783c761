// Data sets in files of arrays: .npz, .npy, HDF5, and ImageNet's batches.
#include "method/data/image_source.h"
#include "method/data/imagenet_classes.h"
#include "tests/storage/storage_testing.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <set>

namespace couplet::testing {
namespace {

/// The value of a pixel of image i.
int array_pixel(std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) {
  return static_cast<int>((17 * i + 31 * c + 5 * y + 3 * x) % 256);
}

/// Files of images of 6 x 6 pixels, 4 x 4 of ImageNet's, in which image i has class i mod 3.
const Folder& array_sets() {
  static const Folder folder;
  if (fs::is_empty(folder.path()))
    run_python(folder, R"(
import numpy as np, h5py
def images(n, c, s=6):
    i, k, y, x = np.mgrid[0:n, 0:c, 0:s, 0:s]
    return ((17 * i + 31 * k + 5 * y + 3 * x) % 256).astype('uint8')
last = lambda p: p.transpose(0, 2, 3, 1)
y = lambda n: np.arange(n) % 3
a, b = last(images(30, 3)), last(images(9, 3))
np.savez_compressed('keras.npz', x_train=a, y_train=y(30)[:, None].astype('uint8'), x_test=b, y_test=y(9)[:, None])
np.savez('planar.npz', images=images(40, 3), labels=y(40))
np.save('grey.npy', images(40, 1)[:, 0])
with h5py.File('med.h5', 'w') as f:
    f.create_dataset('train_images', data=images(30, 1)[:, 0], chunks=(4, 6, 6), compression='gzip')
    f['train_labels'] = y(30)[:, None].astype('int16')
    f['test_images'] = images(9, 1)[:, 0]
    f['test_labels'] = y(9)[:, None].astype('int16')
np.savez('unit.npz', images=(a / 255).astype('float32'))
np.savez('signed.npz', images=(a / 127.5 - 1).astype('float64'))
np.savez('named.npz', faces=a, ages=y(30), more=b, more_ages=y(9))
os.mkdir('imagenet')
for n in range(1, 11):
    save = np.savez_compressed if n % 2 else np.savez
    save(f'imagenet/train_data_batch_{n}.npz', data=images(4, 3, 4).reshape(4, -1) + np.uint8(n),
         labels=np.array([1, 449, 490, 100 * n]), mean=np.zeros(48))
np.savez('imagenet/val_data.npz', data=images(2, 3, 4).reshape(2, -1), labels=np.array([1000, 2]))

def bad(name, **arrays): np.savez(f'bad_{name}.npz', **arrays)
bad('both', images=images(5, 3)[:, :, :, :3], labels=y(5))
bad('channels', images=images(5, 2), labels=y(5))
bad('flat', images=a.reshape(30, -1), labels=y(30))
bad('one', images=a[0])
bad('wide', images=a.astype('int64'), labels=y(30))
bad('float', images=(a / 127.5 - 1).astype('float32'), labels=y(30))
bad('over', images=np.where(np.arange(30)[:, None, None, None] == 7, 1.25, a / 255), labels=y(30))
bad('nan', images=np.where(np.arange(30)[:, None, None, None] == 7, np.nan, a / 255), labels=y(30))
bad('none', images=a[:0], labels=y(0))
bad('short', images=a, labels=y(29))
bad('real', images=a, labels=y(30) * 1.0)
bad('onehot', images=a, labels=np.eye(3)[y(30)].astype('uint8'))
bad('negative', images=a, labels=np.where(np.arange(30) == 11, -1, y(30)))
bad('large', images=a, labels=np.where(np.arange(30) == 11, 2**31, y(30)))
bad('sizes', x_train=a, y_train=y(30), x_test=b[:, :5, :5], y_test=y(9))
bad('some', x_train=a, y_train=y(30), x_test=b)
np.savez('largest.npz', images=a, labels=np.where(np.arange(30) == 11, 2**31 - 1, y(30)).astype('uint64'))
)");
  return folder;
}

SourceOptions of_file(const std::string& name, ArrayOptions arrays = {}) {
  SourceOptions options;
  options.folder = array_sets() / name;
  options.arrays = std::move(arrays);
  return options;
}

ImageSource open_set(const SourceOptions& options, const char* format = "arrays") {
  return find_source(format).open(options);
}

/// Compares images of a split with those that numbers say they are.
void expect_images(SourceImages& split, const std::vector<std::int64_t>& numbers, std::int64_t first) {
  const at::Tensor read = split.read(first, std::ssize(numbers));
  ASSERT_EQ(read.scalar_type(), at::kByte);
  const auto pixels = read.accessor<std::uint8_t, 4>();
  for (std::int64_t i = 0; i < read.size(0); ++i)
    for (std::int64_t c = 0; c < read.size(1); ++c)
      for (std::int64_t y = 0; y < read.size(2); ++y)
        for (std::int64_t x = 0; x < read.size(3); ++x)
          ASSERT_EQ(pixels[i][c][y][x], array_pixel(numbers[static_cast<std::size_t>(i)], c, y, x))
              << split.image_name(first + i);
}

TEST(ArraySource, TwoSplitsComeWithTheirLabels) {
  for (const auto& [file, shape] : {std::pair("keras.npz", "3 x 6 x 6"), std::pair("med.h5", "1 x 6 x 6")}) {
    const ImageSource source = open_set(of_file(file));
    EXPECT_EQ(source.classes, 3);
    EXPECT_EQ(source.train->shape().images, 30);
    EXPECT_EQ(source.test->shape().images, 9);
    EXPECT_EQ(source.train->shape().image_text(), shape);
    for (SourceImages* split : {source.train.get(), source.test.get()}) {
      expect_images(*split, {3, 4}, 3);
      expect_images(*split, {8}, 8);
      expect_images(*split, {0, 1, 2}, 0);
      EXPECT_EQ(split->label(8), 2);
    }
    EXPECT_NE(source.train->image_name(17).find(std::string("row 17 of ") + (array_sets() / file).string()),
              std::string::npos);
  }
}

TEST(ArraySource, OneSplitIsDivided) {
  SourceOptions options = of_file("planar.npz");
  options.held_out = {.share = 0.25, .seed = 2};
  const ImageSource source = open_set(options);
  EXPECT_EQ(source.notes, (std::vector<std::string>{"images: array 'images', labels 'labels'",
                                                    "held out: 0.25 of each class, seed 2"}));
  EXPECT_EQ(source.provenance.at("held_out"), "0.25 of each class, seed 2");
  // Of 14, 13 and 13 rows.
  EXPECT_EQ(source.train->shape().images, 30);
  EXPECT_EQ(source.test->shape().images, 10);
  EXPECT_EQ(source.classes, 3);
  std::multiset<int> rows;
  for (SourceImages* split : {source.train.get(), source.test.get()})
    for (std::int64_t i = 0; i < split->shape().images; ++i) {
      const std::string name = split->image_name(i);
      const int row = std::stoi(name.substr(4));
      rows.insert(row);
      expect_images(*split, {row}, i);
      EXPECT_EQ(split->label(i), row % 3);
    }
  EXPECT_EQ(rows.size(), std::set(rows.begin(), rows.end()).size());
  EXPECT_EQ(rows.size(), 40u);
  const at::Tensor all = source.test->read(0, 10);
  EXPECT_TRUE(all.narrow(0, 4, 3).equal(source.test->read(4, 3)));
  EXPECT_NE(source.train->content_hash(), source.test->content_hash());
  options.held_out.seed = 3;
  EXPECT_NE(open_set(options).train->content_hash(), source.train->content_hash());
}

TEST(ArraySource, ImagesNeedNoLabels) {
  const ImageSource source = open_set(of_file("grey.npy"));
  EXPECT_EQ(source.classes, 0);
  EXPECT_EQ(source.train->shape().images + source.test->shape().images, 40);
  EXPECT_EQ(source.train->shape().image_text(), "1 x 6 x 6");
  EXPECT_EQ(source.train->label(5), 0);
}

TEST(ArraySource, FloatsBecomeThePixelsThatTheyWere) {
  for (const auto& [file, range] : {std::pair("unit.npz", "unit"), std::pair("signed.npz", "signed-unit")}) {
    const ImageSource source = open_set(of_file(file, {.range = range}));
    EXPECT_EQ(source.train->type(), ElementType::uint8);
    for (std::int64_t i = 0; i < source.train->shape().images; ++i)
      expect_images(*source.train, {std::stoi(source.train->image_name(i).substr(4))}, i);
  }
}

TEST(ArraySource, OptionsNameArraysAndAxes) {
  const ImageSource source = open_set(
      of_file("named.npz",
              {.train_images = "faces", .train_labels = "ages", .test_images = "more", .test_labels = "more_ages"}));
  EXPECT_EQ(source.train->shape().images, 30);
  EXPECT_EQ(source.test->shape().images, 9);
  for (const auto& [layout, shape] : {std::pair("NCHW", "3 x 6 x 3"), std::pair("NHWC", "3 x 3 x 6")}) {
    SourceOptions options = of_file("bad_both.npz", {.layout = layout});
    options.held_out.share = 0.4;
    EXPECT_EQ(open_set(options).train->shape().image_text(), shape);
  }
}

TEST(ArraySource, AHashIsOfTheBytesAndOfWhatTheyMean) {
  const Folder folder;
  fs::copy(array_sets() / "bad_both.npz", folder / "other.npz");
  const auto hash = [](const SourceOptions& options) { return open_set(options).train->content_hash(); };
  SourceOptions here = of_file("bad_both.npz", {.layout = "NCHW"}), there = here;
  there.folder = folder / "other.npz";
  here.held_out.share = there.held_out.share = 0.4;
  EXPECT_EQ(hash(here), hash(there));
  there.arrays.layout = "NHWC";
  EXPECT_NE(hash(here), hash(there));
  there.arrays.layout = "NCHW";
  there.arrays.train_labels = "none";
  EXPECT_NE(hash(here), hash(there));
}

TEST(ArraySource, FilesAreNamedWithTheirKey) {
  const auto files = find_source("arrays").files(of_file("keras.npz"));
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].path, array_sets() / "keras.npz");
  EXPECT_EQ(files[0].key, "prepare.source");
  EXPECT_EQ(find_source("arrays").files(of_file("none.npz")).size(), 1u);
}

TEST(ArraySource, WhatIsNotClearOrNotRightIsRefused) {
  const auto refused = [](const std::string& name, const std::vector<std::string>& parts, ArrayOptions options = {}) {
    std::vector<std::string> all{"bad_" + name + ".npz"};
    all.insert(all.end(), parts.begin(), parts.end());
    expect_error([&] { open_set(of_file("bad_" + name + ".npz", options)); }, all);
  };
  refused("both", {"uint8 [5, 3, 6, 3]", "second axis or the last", "prepare.array-layout = NCHW or NHWC"});
  refused("both", {"prepare.array-layout = NHW, but", "[5, 3, 6, 3]"}, {.layout = "NHW"});
  refused("channels", {"[5, 2, 6, 6]", "expected 1 or 3 channels"});
  refused("channels", {"2 channels with prepare.array-layout = NCHW"}, {.layout = "NCHW"});
  refused("flat", {"uint8 [30, 108]", "[N, H, W, C]", "prepare.format = imagenet"});
  refused("one", {"uint8 [6, 6, 3]", "one image", "prepare.array-layout = NHW"});
  refused("wide", {"int64 [30, 6, 6, 3]", "images are uint8"});
  refused("float", {"float32 [30, 6, 6, 3]", "values from -1 to 1 in its first 30 rows", "prepare.array-range = unit"});
  refused("none", {"[0, 6, 6, 3]", "no images"});
  refused("short", {"has 30 images", "has 29 labels"});
  refused("real", {"'labels'", "float64 [30]", "labels are integers"});
  refused("onehot", {"uint8 [30, 3]", "argmax"});
  refused("negative", {"has the label -1 in row 11", "0 to 2147483647"});
  refused("large", {"has the label 2147483648 in row 11"});
  refused("some", {"'x_train' have labels, but 'x_test' have none"});
  expect_error([] { open_set(of_file("keras.npz", {.range = "unit"})); },
               {"prepare.array-range = unit, but", "uint8", "set it to bytes"});
  expect_error([] { open_set(of_file("keras.npz", {.range = "percent"})); },
               {"prepare.array-range = percent: expected bytes, unit"});
  expect_error([] { open_set(of_file("keras.npz", {.layout = "NWH"})); },
               {"prepare.array-layout = NWH: expected auto"});
  EXPECT_EQ(open_set(of_file("largest.npz")).classes, std::int64_t{1} << 31);
}

TEST(ArraySource, FloatsOutOfTheirRangeAreFoundBeforeAnyWork) {
  for (const auto& [file, values] : {std::pair("bad_over.npz", "from 1.25 to 1.25"), std::pair("bad_nan.npz", "nan")}) {
    const ImageSource source = open_set(of_file(file, {.range = "unit"}));
    expect_error([&] { source.train->content_hash(); }, {"row 7 of", file, values, "prepare.array-range = unit"});
    expect_error(
        [&] {
          source.train->read(0, source.train->shape().images);
          source.test->read(0, source.test->shape().images);
        },
        {"row 7 of", values});
  }
}

SourceOptions of_imagenet(const fs::path& folder, const char* order = "devkit") {
  SourceOptions options;
  options.folder = folder;
  options.label_order = order;
  return options;
}

TEST(ImagenetSource, BatchesAreOneSplit) {
  const ImageSource source = open_set(of_imagenet(array_sets() / "imagenet"), "imagenet");
  EXPECT_EQ(source.classes, 1000);
  EXPECT_EQ(source.train->shape().images, 40);
  EXPECT_EQ(source.test->shape().images, 2);
  EXPECT_EQ(source.train->shape().image_text(), "3 x 4 x 4");
  // Image 1 of batch 3 stands at 9, and its values are 3 above those of the formula.
  for (const std::int64_t first : {9, 6, 0}) {
    const at::Tensor read = source.train->read(first, 11);
    for (std::int64_t i = 0; i < 11; ++i) {
      const std::int64_t batch = (first + i) / 4, row = (first + i) % 4;
      ASSERT_EQ(read[i][2][1][3].item<int>(), (array_pixel(row, 2, 1, 3) + batch + 1) % 256) << first + i;
    }
  }
  expect_images(*source.test, {0, 1}, 0);
  EXPECT_NE(source.train->image_name(9).find("row 1 of"), std::string::npos);
  EXPECT_NE(source.train->image_name(9).find("train_data_batch_3.npz"), std::string::npos);
}

TEST(ImagenetSource, LabelsComeInEitherOrder) {
  const ImageSource devkit = open_set(of_imagenet(array_sets() / "imagenet"), "imagenet");
  const ImageSource sorted = open_set(of_imagenet(array_sets() / "imagenet", "wnid"), "imagenet");
  for (std::int64_t i = 0; i < 4; ++i)
    EXPECT_EQ(devkit.train->label(i), (std::array{0, 448, 489, 99}[static_cast<std::size_t>(i)]));
  // Kit fox, tench, sea snake.
  EXPECT_EQ(sorted.provenance.at("label_order"), "wnid");
  EXPECT_EQ(sorted.train->label(0), 278);
  EXPECT_EQ(sorted.train->label(1), 0);
  EXPECT_EQ(sorted.train->label(2), 65);
  EXPECT_EQ(devkit.class_names.at(448), "n01440764");
  EXPECT_EQ(sorted.class_names.at(0), "n01440764");
  for (std::int64_t i = 0; i < 40; ++i)
    EXPECT_EQ(devkit.class_names.at(static_cast<std::size_t>(devkit.train->label(i))),
              sorted.class_names.at(static_cast<std::size_t>(sorted.train->label(i))));
  EXPECT_NE(devkit.train->content_hash(), sorted.train->content_hash());
  expect_error([] { open_set(of_imagenet(array_sets() / "imagenet", "random"), "imagenet"); },
               {"prepare.label-order = random", "devkit", "wnid"});
}

TEST(ImagenetSource, BatchesThatAreNotRightAreRefused) {
  const Folder folder;
  const fs::path batches = folder / "batches";
  const auto refused = [&](const std::vector<std::string>& parts) {
    expect_error([&] { open_set(of_imagenet(batches), "imagenet"); }, parts);
    fs::remove_all(batches);
    fs::copy(array_sets() / "imagenet", batches);
  };
  refused({"train_data_batch_1.npz is missing", "Imagenet64_train_part1_npz.zip"});
  EXPECT_EQ(find_source("imagenet").files(of_imagenet(batches)).size(), 11u);
  fs::remove(batches / "train_data_batch_6.npz");
  EXPECT_EQ(find_source("imagenet").files(of_imagenet(batches)).size(), 0u);
  refused({"train_data_batch_6.npz is missing"});
  fs::remove(batches / "val_data.npz");
  write_bytes(batches / "val_data", "pickle");
  refused({"val_data: is ImageNet's pickled version", "val_data.npz"});
  run_python(folder, R"(
import numpy as np
save = lambda name, d, l: np.savez(name + '.npz', data=d, labels=l)
row = np.zeros((2, 48), 'uint8')
save('size', np.zeros((2, 27), 'uint8'), [1, 2])
save('zero', row, [0, 1])
save('many', row, [1, 1001])
save('type', row.astype('float32'), [1, 2])
save('odd', row[:, :47], [1, 2])
save('few', row, [1])
np.savez('none.npz', x=row)
)");
  const auto with = [&](const char* file) {
    fs::copy(folder / (std::string(file) + ".npz"), batches / "train_data_batch_4.npz",
             fs::copy_options::overwrite_existing);
  };
  with("size");
  refused({"train_data_batch_4.npz", "of 3 pixels", "train_data_batch_1.npz", "of 4", "of one size"});
  with("zero");
  refused({"train_data_batch_4.npz", "the label 0 in row 0", "1 to 1000"});
  with("many");
  refused({"the label 1001 in row 1"});
  with("type");
  refused({"float32 [2, 48]", "3 · S · S"});
  with("odd");
  refused({"uint8 [2, 47]"});
  with("few");
  refused({"has 2 images", "has 1 labels"});
  with("none");
  refused({"has no array 'data'", "it has x"});
  write_bytes(batches / "train_data_batch_4.npz", read_bytes(batches / "train_data_batch_4.npz").substr(0, 300));
  refused({"train_data_batch_4.npz", "zip archive"});
}

}  // namespace
}  // namespace couplet::testing
