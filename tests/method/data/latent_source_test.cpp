// Latents that were made elsewhere: a file a row, and arrays of all rows.
#include "method/data/image_source.h"
#include "method/data/source_detection.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>

namespace couplet::testing {
namespace {

constexpr std::int64_t rows = 24, channels = 3, side = 4;

/// Means and deviations of row i, which float16 holds exactly.
double latent_mean(std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) {
  return static_cast<double>((5 * i + 3 * c + 2 * y + x) % 40) / 8 - 2;
}
double latent_deviation(std::int64_t i, std::int64_t c, std::int64_t y, std::int64_t x) {
  return static_cast<double>((i + c + y * x) % 7 + 1) / 16;
}

/// Row i has class i mod 3.
const Folder& latent_sets() {
  static const Folder folder;
  if (fs::is_empty(folder.path()))
    run_python(folder, R"(
import io, json, zipfile, h5py, numpy as np
i, c, y, x = np.mgrid[0:24, 0:3, 0:4, 0:4]
mean, std = ((5 * i + 3 * c + 2 * y + x) % 40) / 8 - 2, ((i + c + y * x) % 7 + 1) / 16
label = np.arange(24) % 3
whole = np.concatenate([mean, std], 1).astype('float32')
name = lambda row: f'{row // 10:05d}/img-mean-std-{row:08d}.npy'
def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()
members = {name(row): npy(whole[row]) for row in range(24)}
members['dataset.json'] = json.dumps({'labels': [[name(row), int(label[row])] for row in reversed(range(24))]}).encode()
def write(folder, members):
    for member, content in members.items():
        os.makedirs(os.path.dirname(f'{folder}/{member}'), exist_ok=True)
        open(f'{folder}/{member}', 'wb').write(content)
def pack(path, members, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', how) as archive:
        for member in reversed(list(members)): archive.writestr(member, members[member])
write('edm2', members)
pack('edm2.zip', members)
pack('deflated.zip', members, zipfile.ZIP_DEFLATED)
np.savez('pair.npz', mean=mean.astype('float32'), std=std.astype('float16'), label=label)
np.savez_compressed('packed.npz', mean=mean, std=std, labels=label.astype('uint8'))
with h5py.File('pair.h5', 'w') as file:
    file.create_dataset('mean', data=mean.astype('float16'), chunks=(5, 3, 4, 4), compression='gzip')
    file['std'], file['labels'] = std.astype('float32'), label[:, None]
os.mkdir('arrays')
for array, values in (('mean', mean), ('std', std), ('label', label)): np.save(f'arrays/{array}.npy', values)
moments = np.concatenate([mean, 2 * np.log(std)], 1).astype('float32')
moments[3, 4] = -1e6
np.savez('moments.npz', moments=moments, moments_flip=moments[..., ::-1])
os.mkdir('split')
np.savez('split/train.npz', mean=mean[:18], std=std[:18], label=label[:18])
np.savez('split/test.npz', mean=mean[18:], std=std[18:], label=label[18:])
write('folders', {('train/' if row < 18 else 'val/') + name(row): npy(whole[row]) for row in range(24)})

# What cannot be used.
def but(row, value): return members | {name(row): npy(value)}
wrong = whole.copy(); wrong[:, 4] *= -1
pack('variance.zip', members | {name(row): npy(wrong[row]) for row in (4, 7)})
nan, wide = whole[5].copy(), whole[5].copy()
nan[1, 2, 3], wide[0, 0, 0] = np.nan, 1e5
pack('nan.zip', but(5, nan)); pack('wide.zip', but(5, wide))
pack('shape.zip', but(9, whole[9][:, :2, :2]))
pack('means.zip', {name(row): npy(whole[row, :3]) for row in range(3)})
pack('integers.zip', {name(0): npy(whole[0].astype('int32'))})
pack('truncated.zip', members | {name(2): members[name(2)][:-5]})
pack('unlabelled.zip', members | {'dataset.json': json.dumps({'labels': [[name(0), 1]]}).encode()})
pack('images.zip', {'a/1.txt': b'no latent'})
np.savez('alone.npz', mean=mean); np.savez('both.npz', mean=mean, std=std, moments=moments)
np.savez('sides.npz', mean=mean, std=std[:, :, :2]); np.savez('odd.npz', moments=moments[:, :5])
np.savez('real.npz', mean=mean.astype('int64'), std=std)
np.savez('others.npz', a=mean, b=std)
bad = std.copy(); bad[17, 1, 2, 3] = -0.5
np.savez('negative.npz', mean=mean, std=bad)
)");
  return folder;
}

ImageSource open_latents_of(const std::string& name, const FileOptions& files = {}) {
  SourceOptions options;
  options.folder = latent_sets() / name;
  options.held_out = {.share = 0.25, .seed = 2};
  options.files = files;
  return find_source("latents").open(options);
}

/// Which row of the set this is, by its first mean and deviation and its label: all 24 differ.
std::int64_t row_of(const at::Tensor& row, std::int64_t label) {
  for (std::int64_t i = 0; i < rows; ++i)
    if (i % 3 == label && row[0][0][0].item<double>() == latent_mean(i, 0, 0, 0) &&
        std::abs(row[3][0][0].item<double>() - latent_deviation(i, 0, 0, 0)) < 1e-3)
      return i;
  return -1;
}

/// Checks all values, and returns which rows they are of.
std::vector<std::int64_t> rows_of(SourceImages& images, bool has_labels = true, double rounding = 0) {
  std::vector<std::int64_t> found;
  const at::Tensor read = images.read(0, images.shape().images);
  EXPECT_EQ(images.type(), ElementType::float16);
  EXPECT_EQ(read.scalar_type(), at::kHalf);
  for (std::int64_t n = 0; n < read.size(0); ++n) {
    std::int64_t i = -1;
    for (std::int64_t label = has_labels ? images.label(n) : 0; label < (has_labels ? images.label(n) + 1 : 3) && i < 0;
         ++label)
      i = row_of(read[n], label);
    found.push_back(i);
    EXPECT_GE(i, 0) << images.image_name(n);
    for (std::int64_t c = 0; c < channels && i >= 0; ++c)
      for (std::int64_t y = 0; y < side; ++y)
        for (std::int64_t x = 0; x < side; ++x) {
          // One log-variance of row 3 is clamped.
          const bool is_clamped = rounding > 0 && i == 3 && c == 1;
          const double deviation = is_clamped ? std::exp(-15) : latent_deviation(i, c, y, x);
          EXPECT_EQ(read[n][c][y][x].item<double>(), latent_mean(i, c, y, x)) << images.image_name(n);
          EXPECT_NEAR(read[n][channels + c][y][x].item<double>(), deviation, is_clamped ? 1e-7 : rounding)
              << images.image_name(n);
        }
  }
  return found;
}

TEST(LatentSource, AFolderAndItsZipGiveTheirRowsAndLabels) {
  const ImageSource first = open_latents_of("edm2");
  EXPECT_EQ(find_source("latents").codec, "latent");
  EXPECT_EQ(first.classes, 3);
  EXPECT_EQ(first.train->shape().image_text(), "6 x 4 x 4");
  EXPECT_EQ(first.train->shape().images, 18);
  EXPECT_EQ(first.notes[0],
            (latent_sets() / "edm2").string() + ": 24 latents of 3 x 4 x 4, means and standard deviations");
  EXPECT_EQ(first.notes[1], "labels by dataset.json: 3 classes");
  const std::vector<std::int64_t> trained = rows_of(*first.train), held_out = rows_of(*first.test);
  EXPECT_TRUE(std::ranges::is_sorted(trained));
  std::set<std::int64_t> all(trained.begin(), trained.end());
  all.insert(held_out.begin(), held_out.end());
  EXPECT_EQ(std::ssize(all), rows);
  const std::int64_t last = trained.back();
  EXPECT_EQ(first.train->file_line(17), fmt::format("{:05}/img-mean-std-{:08}.npy\t4\t4\tNPY\t", last / 10, last));
  const at::Tensor some = first.train->read_images({9, 3, 3, 0});
  EXPECT_TRUE(some[0].equal(first.train->read(9, 1)[0]) && some[2].equal(first.train->read(3, 1)[0]));
  for (const char* name : {"edm2.zip", "deflated.zip"}) {
    const ImageSource other = open_latents_of(name);
    EXPECT_TRUE(other.train->read(0, 18).equal(first.train->read(0, 18))) << name;
    EXPECT_EQ(other.train->content_hash(), first.train->content_hash()) << name;
    EXPECT_EQ(other.test->content_hash(), first.test->content_hash()) << name;
  }
}

TEST(LatentSource, ArraysGiveTheSameRows) {
  const ImageSource files = open_latents_of("edm2");
  for (const char* name : {"pair.npz", "packed.npz", "pair.h5", "arrays"}) {
    const ImageSource source = open_latents_of(name);
    EXPECT_EQ(source.classes, 3) << name;
    EXPECT_FALSE(source.train->content_hash().empty());
    // Held out is a share of each class by the same draw.
    EXPECT_TRUE(source.train->read(0, 18).equal(files.train->read(0, 18))) << name;
    EXPECT_TRUE(source.test->read(0, 6).equal(files.test->read(0, 6))) << name;
    EXPECT_TRUE(source.train->read(4, 3).equal(files.train->read(4, 3))) << name;
    for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(source.test->label(i), files.test->label(i)) << name;
  }
  EXPECT_EQ(open_latents_of("pair.npz").notes[0], "latents: arrays 'mean' and 'std', labels 'label'");
}

TEST(LatentSource, MomentsAreMeansAndLogVariances) {
  const ImageSource source = open_latents_of("moments.npz");
  EXPECT_EQ(source.classes, 0);
  EXPECT_EQ(source.notes.front(), "latents: array 'moments', means and log-variances, no labels");
  EXPECT_EQ(source.notes.back(), "left aside: arrays 'moments_flip'");
  std::vector<std::int64_t> all = rows_of(*source.train, false, 1e-3);
  std::ranges::copy(rows_of(*source.test, false, 1e-3), std::back_inserter(all));
  EXPECT_EQ(std::ssize(std::set(all.begin(), all.end())), rows);
}

TEST(LatentSource, SplitsThatAreNamedAreTaken) {
  for (const char* name : {"split", "folders"}) {
    const ImageSource source = open_latents_of(name, {.labels = "none"});
    ASSERT_EQ(source.train->shape().images, 18) << name;
    ASSERT_EQ(source.test->shape().images, 6) << name;
    const bool has_labels = source.classes == 3;
    EXPECT_EQ(rows_of(*source.train, has_labels).back(), 17) << name;
    EXPECT_EQ(rows_of(*source.test, has_labels), (std::vector<std::int64_t>{18, 19, 20, 21, 22, 23})) << name;
  }
}

TEST(LatentSource, WhatCannotBeUsedIsRefusedByName) {
  const auto expect = [](const std::string& name, const std::vector<std::string>& parts) {
    expect_error([&] { open_latents_of(name); }, parts);
  };
  expect("variance.zip", {"2 of 24 files", "img-mean-std-00000004.npy: has the standard deviation -0.", "00000007.npy",
                          "prepare.skip-broken"});
  expect("nan.zip", {"1 of 24 files", "img-mean-std-00000005.npy: holds NaN"});
  expect("wide.zip", {"img-mean-std-00000005.npy: holds values that float16 cannot"});
  expect("shape.zip", {"img-mean-std-00000009.npy: is of 6 x 2 x 2, but 00000/img-mean-std-00000000.npy of 6 x 4 x 4"});
  expect("means.zip", {"img-mean-std-00000000.npy: is float32 [3, 4, 4]", "[2 C, h, w]", "zeros"});
  expect("integers.zip", {"is int32 [6, 4, 4]"});
  expect("truncated.zip", {"img-mean-std-00000002.npy", "bytes of values"});
  expect("unlabelled.zip", {"23 of 24 images are not named in dataset.json"});
  expect("images.zip", {"holds no latents among its 1 files"});
  expect("alone.npz", {"'mean' alone", "save zeros as 'std'"});
  expect("both.npz", {"'moments'", "'mean'"});
  expect("sides.npz", {"array 'mean' is", "array 'std' is", "a deviation for each mean"});
  expect("odd.npz", {"[24, 5, 4, 4]", "log-variances"});
  expect("real.npz", {"is int64", "latents are floats"});
  expect("others.npz", {"others.npz: a.npy: is float64 [24, 3, 4, 4]", "[2 C, h, w]"});
  // Of arrays the values are found out when all of them are read.
  const ImageSource negative = open_latents_of("negative.npz");
  for (const SourceImages* split : {negative.train.get(), negative.test.get()})
    expect_error([&] { static_cast<void>(split->content_hash()); }, {"row 17 of", "negative.npz", "-0.5"});
  const ImageSource skipped = open_latents_of("variance.zip", {.skip_broken = true});
  EXPECT_EQ(skipped.train->shape().images + skipped.test->shape().images, 22);
  EXPECT_NE(skipped.notes[2].find("2 latents are left out"), std::string::npos);
}

TEST(LatentSource, WhoHasItFoundOutIsToldWhatIsMissing) {
  for (const char* name : {"edm2", "edm2.zip", "pair.npz", "pair.h5", "arrays", "moments.npz"})
    expect_error([&] { detect_source(latent_sets() / name); },
                 {name, "holds latents, it seems", "prepare.format = latents", "latents.file"});
  expect_error([&] { detect_source(latent_sets() / "split"); }, {"test.npz", "holds latents, it seems"});
  EXPECT_EQ(detect_source(latent_sets() / "others.npz").format, "arrays");
}

}  // namespace
}  // namespace couplet::testing
