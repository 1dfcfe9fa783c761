#include "method/data/source_detection.h"

#include "tests/storage/storage_testing.h"

namespace couplet::testing {
namespace {

const std::string png = "\x89PNG\r\n\x1a\n";
/// IDX files of one image of 2 x 2 pixels, and of one label.
const std::string idx_image("\0\0\x08\3\0\0\0\1\0\0\0\2\0\0\0\2abcd", 20), idx_label("\0\0\x08\1\0\0\0\1a", 9);

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  write_bytes(path, bytes);
}

TEST(SourceDetection, KnowsADataSetByItsContents) {
  const Folder folder;
  run_python(folder, R"(
import zipfile, tarfile, io, gzip, numpy
import h5py
os.mkdir("arrays"); os.mkdir("shards")
numpy.savez("arrays.bin", x=numpy.zeros(3)); os.rename("arrays.bin.npz", "arrays.bin")
numpy.savez("arrays/a.npz", x=numpy.zeros(3))
numpy.save("one", numpy.zeros(3)); os.rename("one.npy", "one")
with h5py.File("two", "w") as file: file["x"] = numpy.zeros(3)
with zipfile.ZipFile("images.npz", "w") as archive: archive.writestr("a/1.png", b"")
for name in ["images.tar", "shards/0.tar"]:
    with tarfile.open(name, "w") as tar: tar.addfile(tarfile.TarInfo("1.png"))
)");
  write(folder / "images/a b/\xc3\xbc.png", png);
  write(folder / "images/a b/0.txt", "text");
  write(folder / "images/0.npy", "\x93NUMPY");
  write(folder / "idx/train", idx_image);
  write(folder / "idx/labels", idx_label);
  write(folder / "idx/read me", "text");
  write(folder / "table/train/manifest.json", "{}");
  write(folder / "cifar/cifar-10-batches-bin/data_batch_1.bin", std::string(3073, 'a'));
  write(folder / "cifar100/train.bin", std::string(3074, 'a'));
  write(folder / "imagenet/train_data_batch_1.npz", "PK");
  write(folder / "parquet/0000.parquet", "PAR1....PAR1");
  const auto expect = [&](const std::string& name, const std::string& format) {
    const DetectedSource found = detect_source(folder / name);
    EXPECT_EQ(found.format, format) << name;
    EXPECT_NE(found.reason.find((folder / name).string()), std::string::npos) << found.reason;
  };
  expect("images", "files");
  expect("images.npz", "files");
  expect("images.tar", "files");
  expect("shards", "files");
  expect("idx", "idx");
  expect("table", "table");
  expect("cifar", "cifar");
  expect("cifar100", "cifar");
  expect("imagenet", "imagenet");
  expect("arrays", "arrays");
  expect("arrays.bin", "arrays");
  expect("one", "arrays");
  expect("two", "arrays");
  expect("parquet", "files");
  expect("parquet/0000.parquet", "files");
}

TEST(SourceDetection, WhatIsNothingKnownIsRefusedWithWhatToDo) {
  const Folder folder;
  run_python(folder, R"(
import pickle, zipfile, tarfile, gzip
os.mkdir("p"); os.mkdir("q")
pickle.dump({"data": 1}, open("p/data_batch_1", "wb"))
pickle.dump({"data": 1}, open("q/any", "wb"))
with zipfile.ZipFile("batches.zip", "w") as archive: archive.writestr("train_data_batch_1.npz", b"")
with zipfile.ZipFile("empty.zip", "w") as archive: pass
tarfile.open("a.tar.gz", "w:gz").addfile(tarfile.TarInfo("a"))
)");
  write(folder / "images/1.png", png);
  write(folder / "idx/1", idx_image);
  write(folder / "text/1.txt", "text");
  write(folder / "batch.bin", std::string(2 * 3073, 'a'));
  fs::create_directories(folder / "empty");
  const auto expect = [&](const std::string& name, const std::vector<std::string>& parts) {
    expect_error([&] { detect_source(folder / name); }, parts);
  };
  expect("none", {"prepare.source = ", "there is nothing of that name"});
  expect("empty", {"empty: holds no files"});
  expect("text", {"none of its 1 files is an image", "the first is 1.txt"});
  expect("text/1.txt", {"is no data set that is known", "prepare.format"});
  expect("p", {"data_batch_1: is CIFAR-10's Python version", "cifar-10-binary.tar.gz"});
  expect("q", {"q/any: is a Python pickle", "numpy.savez"});
  expect("q/any", {"is a Python pickle"});
  expect("batches.zip", {"zip archive of .npz files", "unpack it"});
  expect("empty.zip", {"zip archive without files"});
  expect("a.tar.gz", {"compressed as a whole (gzip)", "gunzip"});
  expect("images/1.png", {"is one image; name the folder"});
  expect("idx/1", {"is one IDX file"});
  expect("batch.bin", {"may be one file of CIFAR's binary version"});
}

}  // namespace
}  // namespace couplet::testing
