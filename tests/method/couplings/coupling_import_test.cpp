// Pairs in the forms in which other programs leave them, written by numpy and h5py: each becomes the same table.
#include "method/tables/coupling_import.h"

#include "pipeline/loader/table_rows.h"
#include "storage/tables/row_table.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace couplet::testing {
namespace {

constexpr std::int64_t rows = 23, channels = 3, size = 8;

/// What every script begins with: the pairs, as they are expected in the table.
const std::string pairs = R"(
import h5py, json, numpy, os, zipfile
random = numpy.random.default_rng(5)
shape = (23, 3, 8, 8)
noise = (2 * random.standard_normal(shape)).astype("f4")
grey = random.integers(0, 256, shape).astype("u1")
seen = (random.standard_normal(shape) / 2).astype("f4")
label = random.integers(0, 10, 23)
for name in ("noise", "grey", "seen", "label"): open(name + ".bytes", "wb").write(globals()[name].tobytes())
os.mkdir("source")
os.chdir("source")
)";

/// Makes the source of a script, which runs in the folder `source`, and imports `source`/`name`.
struct Imported {
  Folder folder;
  std::vector<std::string> notes;
  nlohmann::json provenance;
  ElementType image_type = ElementType::uint8;
  at::Tensor noise, image, label;

  explicit Imported(const std::string& script, const std::string& name = "") {
    run_python(folder, pairs + script);
    ImportSource source(name.empty() ? folder / "source" : folder / ("source/" + name));
    notes = source.notes();
    provenance = source.provenance();
    image_type = source.image_type();
    fs::create_directory(folder / "table");
    import_coupling(source, folder / "table", {10, 5});
    const RowTable table(folder / "table", coupling_format);
    noise = read_rows(table, "noise", 0, table.rows());
    image = read_rows(table, "image", 0, table.rows());
    label = read_rows(table, "label", 0, table.rows());
  }

  at::Tensor expected(const std::string& name, at::ScalarType type, std::vector<std::int64_t> shape) const {
    at::Tensor values = at::empty(shape, type);
    const std::string bytes = read_bytes(folder / (name + ".bytes"));
    EXPECT_EQ(bytes.size(), values.nbytes());
    std::memcpy(values.mutable_data_ptr(), bytes.data(), bytes.size());
    return values;
  }
  void expect_noise() const { EXPECT_TRUE(noise.equal(expected("noise", at::kFloat, {rows, channels, size, size}))); }
  void expect_grey() const { EXPECT_TRUE(image.equal(expected("grey", at::kByte, {rows, channels, size, size}))); }
  void expect_seen() const { EXPECT_TRUE(image.equal(expected("seen", at::kFloat, {rows, channels, size, size}))); }
  void expect_labels() const { EXPECT_TRUE(label.equal(expected("label", at::kLong, {rows}).to(at::kInt))); }
  bool has_note(const std::string& part) const {
    return std::ranges::any_of(notes, [&](const auto& note) { return note.find(part) != std::string::npos; });
  }
};

/// Expects that the source of a script is refused before anything is written, in one line.
void expect_refusal(const std::string& script, const std::vector<std::string>& parts, const std::string& name = "") {
  const Folder folder;
  run_python(folder, pairs + script);
  expect_error([&] { ImportSource(name.empty() ? folder / "source" : folder / ("source/" + name)); }, parts);
}

/// The same of a source whose values are at fault.
void expect_failure(const std::string& script, const std::vector<std::string>& parts) {
  expect_error([&] { const Imported imported(script); }, parts);
}

const std::string rectified_flow = R"(
for folder, some in (("2", slice(0, 9)), ("10", slice(9, 23))):
    os.mkdir(folder)
    numpy.save(folder + "/z0.npy", noise[some])
    numpy.save(folder + "/z1.npy", seen[some])
)";

// Liu's RectifiedFlow leaves a folder for each seed; 10 comes after 2.
TEST(CouplingImport, FoldersOfArraysFollowEachOther) {
  const Imported imported(rectified_flow);
  imported.expect_noise();
  imported.expect_seen();
  EXPECT_TRUE(imported.has_note("2 pairs of arrays in this order: '2/z0' to '10/z0'"));
  EXPECT_TRUE(imported.has_note("stays of floats"));
  EXPECT_EQ(imported.image_type, ElementType::float32);
  EXPECT_EQ(imported.provenance.at("source"), "source");
  EXPECT_EQ(imported.provenance.at("source_hash").get<std::string>().size(), 32U);
  EXPECT_NE(imported.provenance.at("source_hash"),
            Imported(rectified_flow + "os.rename('2', '3')").provenance["source_hash"])
      << "names are part of what the hash covers";
}

// Re-MeanFlow leaves two files for each pair.
TEST(CouplingImport, TwoFilesAPair) {
  const std::string two_files = R"(
for i in range(23):
    numpy.save(f"{i + 1}.npy", seen[i])
    numpy.save(f"{i + 1}_noise.npy", noise[i])
)";
  const Imported imported(two_files + "numpy.save('labels.npy', label)");
  imported.expect_noise();
  imported.expect_seen();
  imported.expect_labels();
  const Imported labelled(two_files + "for i in range(23): numpy.save(f'{i + 1}_label.npy', label[i])");
  labelled.expect_labels();
  EXPECT_TRUE(Imported(two_files).has_note("every label is 0"));
  expect_refusal(two_files + "os.remove('7.npy')", {"source: '7_noise'", "not there"});
  EXPECT_TRUE(Imported(two_files + "numpy.save('24.npy', seen[0])").has_note("not read: 24"));
  expect_failure(two_files + "numpy.save('7.npy', seen[7:9])",
                 {"array 'image'", "'7' is float32 [2, 3, 8, 8]", "[3, 8, 8]"});
  expect_failure(two_files + "numpy.save('7.npy', seen[7].astype('f2'))", {"'7' is float16 [3, 8, 8]"});
  Imported(two_files + "numpy.save('7.npy', seen[6:7])").expect_seen();
  expect_refusal(two_files + "numpy.save('7_label.npy', label[7])", {"'7' has a label, unlike '1'"});
}

TEST(CouplingImport, APairOfFilesIsFoundByEither) {
  const std::string pair =
      "numpy.save('X.npy', seen); numpy.save('X_noise.npy', noise); numpy.save('X_label.npy', label)\n";
  for (const std::string name : {"", "X.npy"}) {
    const Imported imported(pair, name);
    imported.expect_noise();
    imported.expect_seen();
    imported.expect_labels();
  }
  expect_refusal("numpy.save('X.npy', seen)", {"no array 'noise'", "found X"}, "X.npy");
}

/// LOOM-CFM: shards of groups, packed with lzf; images are grey values as floats.
const std::string loom = R"(
for shard, some in ((1, range(0, 12)), (2, range(12, 23))):
    with h5py.File(f"shard_{shard:04d}.hdf5", "w") as file:
        for number, row in enumerate(some):
            group = file.create_group(str(number))
            group.create_dataset("source", data=noise[row], dtype="float32", compression="lzf")
            group.create_dataset("target", data=grey[row], dtype="float32", compression="lzf")
)";

TEST(CouplingImport, GroupsOfAnHdf5FileAreRows) {
  const Imported imported(loom);
  imported.expect_noise();
  imported.expect_grey();
  EXPECT_TRUE(imported.has_note("holds grey values and is stored as uint8"));
  const Imported first(loom, "shard_0001.hdf5");
  EXPECT_TRUE(first.noise.equal(imported.noise.narrow(0, 0, 12))) << "group 10 comes after 9";
  const Imported inner(R"(
with h5py.File("x.h5", "w") as file:
    file["run/pairs/noise"], file["run/pairs/image"], file["run/pairs/label"] = noise, grey, label
)",
                       "x.h5");
  inner.expect_noise();
  inner.expect_grey();
  inner.expect_labels();
}

// What lies beside arrays at the top level is not looked at.
TEST(CouplingImport, ArraysAtTheTopLevelWin) {
  const Imported imported(R"(
with h5py.File("x.h5", "w") as file:
    file["noise"], file["image"], file["label"] = noise, grey, label
    file["old/noise"] = noise
)",
                          "x.h5");
  imported.expect_noise();
  imported.expect_labels();
}

TEST(CouplingImport, ArchivesOfArraysAndOfArchives) {
  const std::string save = R"(
def save(path, **arrays):
    numpy.savez(path, **arrays)
for i, some in enumerate((slice(0, 9), slice(9, 23))): save(f"{i}.npz", noise=noise[some], image=grey[some], label=label[some])
)";
  const std::string packed = R"(
with zipfile.ZipFile("all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name in sorted(os.listdir(".")):
        if name != "all.zip": archive.write(name, "part/" + name)
)";
  for (const std::string name : {"", "all.zip"}) {
    const Imported imported(save + (name.empty() ? "" : packed), name);
    imported.expect_noise();
    imported.expect_grey();
    imported.expect_labels();
  }
  const Imported arrays("numpy.save('z.npy', noise); numpy.save('x.npy', grey); numpy.save('y.npy', label)" + packed,
                        "all.zip");
  arrays.expect_noise();
  arrays.expect_grey();
  arrays.expect_labels();
  expect_refusal("open('0.npz', 'w').write('no archive')" + packed, {"all.zip: entry 'part/0.npz'", "no zip archive"},
                 "all.zip");
  expect_failure(save + "save('1.npz', noise=noise[:4], image=grey[:5], label=label[:4])",
                 {"'1.npz/image'", "expected uint8 [4, 3, 8, 8]"});
}

TEST(CouplingImport, NamesThatMayMeanTwoThingsAreRefused) {
  expect_refusal("numpy.save('z.npy', noise); numpy.save('z0.npy', noise); numpy.save('x.npy', grey)",
                 {"source: both '", "'z'", "'z0'", "may be the noise"});
  expect_refusal("numpy.save('a.npy', noise); numpy.save('b.npy', grey)", {"no array 'noise'", "found ", "a", "b"});
  expect_refusal("", {"no array 'noise'", "found nothing"});
  expect_refusal("numpy.save('z0.npy', noise); os.mkdir('a'); numpy.save('a/z1.npy', seen)",
                 {"no array 'image' at its top level"});
  const Imported first("numpy.save('noise.npy', noise); numpy.save('z.npy', -noise); numpy.save('image.npy', grey)");
  first.expect_noise();
}

TEST(CouplingImport, ImagesSayWhatTheyAre) {
  const auto save = [](const std::string& image) { return "numpy.savez('x.npz', noise=noise, image=" + image + ")"; };
  for (const std::string type : {"f4", "f2", "f8"})
    Imported(save("grey.astype('" + type + "')"), "x.npz").expect_grey();
  Imported(save("seen"), "x.npz").expect_seen();
  Imported(save("seen.astype('f8')"), "x.npz").expect_seen();
  const Imported half(save("seen.astype('f2')"), "x.npz");
  EXPECT_EQ(half.image_type, ElementType::float16);
  EXPECT_TRUE(half.image.equal(half.expected("seen", at::kFloat, {rows, channels, size, size}).to(at::kHalf)));
  expect_refusal(save("(grey / 255).astype('f4')"), {"array 'image'", "without a value below 0", "2 * x - 1"}, "x.npz");
  expect_refusal(save("grey.astype('i4')"), {"array 'image' is int32", "uint8"}, "x.npz");
  expect_failure(save("numpy.where(numpy.arange(23)[:, None, None, None] == 9, numpy.nan, seen)"),
                 {"array 'image'", "row 9", "nan"});
  expect_failure(save("grey * 1.0 - 0.5"), {"array 'image'", "row 0", "[-1, 1]"});
}

TEST(CouplingImport, ChannelsMayBeLast) {
  const Imported imported("numpy.savez('x.npz', noise=noise, image=grey.transpose(0, 2, 3, 1).copy(), label=label)",
                          "x.npz");
  imported.expect_noise();
  imported.expect_grey();
  EXPECT_TRUE(imported.has_note("'image' has its channels last"));
  EXPECT_FALSE(imported.has_note("'noise' has its channels last"));
  Imported(
      "numpy.savez('x.npz', noise=noise.transpose(0, 2, 3, 1).astype('f8'), image=seen.transpose(0, 2, 3, "
      "1).astype('f8'))",
      "x.npz")
      .expect_seen();
  expect_refusal("numpy.savez('x.npz', noise=noise.reshape(23, 6, 4, 8), image=grey)",
                 {"'noise' is float32 [23, 6, 4, 8]"}, "x.npz");
}

TEST(CouplingImport, WhatNumpyWritesOtherwiseIsNamed) {
  const auto save = [](const std::string& noise, const std::string& label = "label") {
    return "numpy.save('z.npy', " + noise + "); numpy.save('x.npy', grey); numpy.save('y.npy', " + label + ")";
  };
  expect_refusal(save("numpy.asfortranarray(noise)"), {"source/z.npy", "Fortran order", "ascontiguousarray"});
  expect_refusal(save("noise.astype('>f4')"), {"source/z.npy", "\">f4\"", "little-endian"});
  expect_refusal(save("noise", "numpy.eye(10, dtype='i8')[label]"), {"'label' is int64 [23, 10]", "argmax"});
  expect_refusal(save("noise") + "; data = open('z.npy', 'rb').read(); open('z.npy', 'wb').write(data[:-1])",
                 {"source/z.npy", "expected"});
  expect_refusal(save("noise") + "; open('z.npy', 'wb').write(b'12345')", {"source/z.npy", "no .npy array"});
  expect_refusal(save("noise") + "; open('more.npz', 'wb').write(b'12345')", {"source/more.npz", "neither"});
}

}  // namespace
}  // namespace couplet::testing
