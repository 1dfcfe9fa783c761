// .npz files to and from NumPy, and HDF5 files from h5py: what Debian's python3-numpy and python3-h5py write and read.
#include "storage/formats/foreign_array.h"
#include "storage/formats/npz.h"

#include "tests/storage/storage_testing.h"

#include <cstring>

namespace couplet::testing {
namespace {

NpzArray counting(const std::string& name, ElementType type, std::int64_t rows, std::vector<std::int64_t> row_shape,
                  std::int64_t rows_at_once) {
  std::size_t row_bytes = element_size(type);
  for (const std::int64_t extent : row_shape) row_bytes *= static_cast<std::size_t>(extent);
  const auto read = [=](std::int64_t first, std::int64_t count, std::span<std::byte> out) {
    EXPECT_LE(count, rows_at_once);
    EXPECT_EQ(out.size(), static_cast<std::size_t>(count) * row_bytes);
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<std::byte>((static_cast<std::size_t>(first) * row_bytes + i) * 7 % 59);
  };
  return {name, type, rows, std::move(row_shape), rows_at_once, read};
}

std::vector<NpzArray> every_type() {
  return {counting("a", ElementType::uint8, 10, {2, 3}, 3),  counting("b", ElementType::int32, 10, {}, 4),
          counting("c", ElementType::int64, 7, {1}, 100),    counting("d", ElementType::float16, 9, {3, 5, 7}, 2),
          counting("e", ElementType::float32, 1, {2}, 1),    counting("f", ElementType::float64, 4, {}, 3),
          counting("g", ElementType::float16, 3000, {20}, 7)};
}

TEST(Npz, NumpyReadsWhatIsWritten) {
  const Folder folder;
  write_npz(folder / "x.npz", every_type());
  EXPECT_EQ(run_python(folder, R"(
import numpy, zipfile
arrays = numpy.load("x.npz")
for name in arrays:
    a = arrays[name]
    expected = (numpy.arange(a.nbytes) * 7 % 59).astype("u1").tobytes()
    print(name, a.dtype, a.shape, a.tobytes() == expected)
z = zipfile.ZipFile("x.npz")
print(z.testzip(), {e.compress_type for e in z.infolist()}, {e.date_time for e in z.infolist()})
)"),
            "a uint8 (10, 2, 3) True\nb int32 (10,) True\nc int64 (7, 1) True\nd float16 (9, 3, 5, 7) True\n"
            "e float32 (1, 2) True\nf float64 (4,) True\ng float16 (3000, 20) True\n"
            "None {0} {(1980, 1, 1, 0, 0, 0)}\n");
  write_npz(folder / "y.npz", every_type());
  EXPECT_EQ(read_bytes(folder / "x.npz"), read_bytes(folder / "y.npz"));
}

TEST(Npz, WhatFailsLeavesTheOldFile) {
  const Folder folder;
  write_bytes(folder / "x.npz", "old");
  auto arrays = every_type();
  arrays[3].read = [](std::int64_t first, std::int64_t, std::span<std::byte>) {
    if (first > 2) fail("row {} is damaged", first);
  };
  expect_error([&] { write_npz(folder / "x.npz", arrays); }, {"row 4 is damaged"});
  EXPECT_EQ(read_bytes(folder / "x.npz"), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"x.npz"});
  expect_error([&] { write_npz(folder / "none/x.npz", every_type()); }, {"none/x.npz", "no directory"});
  expect_error([&] { write_npz(folder / "z.npz", {counting("a", ElementType::bfloat16, 1, {}, 1)}); }, {"bfloat16"});
}

TEST(Npz, AFullDiskIsAnErrorThatNamesTheFile) {
  const Folder folder;
  const int status = run_in_child(folder / "message", [&] {
    limit_file_size(20000);
    write_npz(folder / "x.npz", every_type());
  });
  EXPECT_EQ(WEXITSTATUS(status), 99);
  EXPECT_NE(read_bytes(folder / "message").find("x.npz"), std::string::npos) << read_bytes(folder / "message");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"message"});
}

constexpr const char* make_arrays = R"(
import numpy, h5py
random = numpy.random.default_rng(0)
arrays = {
    "f2": random.standard_normal((30, 2, 3)).astype("f2"), "f4": random.standard_normal((30, 5)).astype("f4"),
    "f8": random.standard_normal(30), "u1": random.integers(0, 255, (30, 7)).astype("u1"),
    "i1": numpy.arange(-15, 15).astype("i1"), "i2": numpy.arange(30).astype("i2"), "u8": numpy.arange(30).astype("u8"),
    "i8": numpy.arange(-9, 21)}
numpy.savez("plain.npz", **arrays)
numpy.savez_compressed("packed.npz", **arrays)
with h5py.File("plain.h5", "w") as file:
    for name, value in arrays.items(): file[name] = value
with h5py.File("packed.h5", "w", libver="latest") as file:
    for name, value in arrays.items():
        if value.dtype.itemsize > 1: value = value.astype(value.dtype.newbyteorder(">"))
        file.create_dataset(name, data=value, chunks=(4,) + value.shape[1:], compression="gzip", shuffle=True)
for name, value in arrays.items(): open(name + ".bytes", "wb").write(value.tobytes())
)";

TEST(ForeignArray, ReadsWhatNumpyAndH5pyWrite) {
  const Folder folder;
  run_python(folder, make_arrays);
  for (const std::string file : {"plain.npz", "packed.npz", "plain.h5", "packed.h5"}) {
    const auto foreign = open_foreign_file(folder / file);
    EXPECT_EQ(foreign->names().size(), 8u) << file;
    // All of them at once, as one row after the other is taken from each.
    std::vector<std::unique_ptr<ForeignArray>> arrays;
    std::vector<std::string> found;
    const std::vector<std::string> names{"f2", "f4", "f8", "u1", "i1", "i2", "u8", "i8"};
    for (const auto& name : names) arrays.push_back(foreign->open(name));
    found.resize(names.size());
    for (std::int64_t row = 0; row < 30; row += 4) {
      const std::int64_t count = std::min<std::int64_t>(4, 30 - row);
      for (std::size_t i = 0; i < arrays.size(); ++i) {
        std::string bytes(static_cast<std::size_t>(count) * arrays[i]->row_bytes(), '\0');
        arrays[i]->read_next(count, std::as_writable_bytes(std::span(bytes)));
        found[i] += bytes;
      }
    }
    for (std::size_t i = 0; i < names.size(); ++i)
      EXPECT_TRUE(found[i] == read_bytes(folder / (names[i] + ".bytes"))) << file << " " << names[i];
    EXPECT_EQ(arrays[0]->description(), "float16 [30, 2, 3]");
    EXPECT_EQ(arrays[4]->description(), "int8 [30]");
    EXPECT_EQ(arrays[6]->description(), "uint64 [30]");
  }
}

TEST(ForeignArray, WhatCannotBeReadIsNamed) {
  const Folder folder;
  run_python(folder, R"(
import numpy, h5py
numpy.savez("odd.npz", fortran=numpy.asfortranarray(numpy.zeros((3, 4))), big=numpy.zeros(3, ">f4"), text=numpy.array(["a"]),
            complex=numpy.zeros(3, "c8"))
with h5py.File("odd.h5", "w") as file:
    file["text"] = "hello"
    file["bool"] = numpy.zeros(3, bool)
    file["complex"] = numpy.zeros(3, "c8")
)");
  const auto npz = open_foreign_file(folder / "odd.npz");
  expect_error([&] { npz->open("fortran"); }, {"odd.npz", "'fortran'", "Fortran order", "ascontiguousarray"});
  expect_error([&] { npz->open("big"); }, {"odd.npz", "'big'", "\">f4\""});
  expect_error([&] { npz->open("text"); }, {"'text'", "\"<U1\""});
  expect_error([&] { npz->open("complex"); }, {"'complex'", "\"<c8\""});
  expect_error([&] { npz->open("none"); }, {"'none'"});
  const auto hdf5 = open_foreign_file(folder / "odd.h5");
  for (const std::string name : {"text", "bool", "complex"})
    expect_error([&] { hdf5->open(name); }, {"odd.h5", name, "no plain integers or IEEE floats"});
  write_bytes(folder / "x.npz", "neither");
  expect_error([&] { open_foreign_file(folder / "x.npz"); }, {"x.npz", "neither an .npz nor an HDF5 file"});
  expect_error([&] { open_foreign_file(folder / "none.npz"); }, {"none.npz", "does not exist"});
}

/// Headers that no NumPy writes; most made the program run out of stack once.
TEST(Npz, ImpossibleHeadersAreRefused) {
  const Folder folder;
  run_python(folder, R"python(
import zipfile
def npy(text): return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text.encode("latin-1")
def header(descr="'<f4'", order="False", shape="(2,)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
entries = {
    "long": header("'" + 60000 * "x" + "'"), "blanks": header(shape="(" + 60000 * " "), "open": 60000 * "(",
    "twice": header()[:-1] + "'shape': (3,)}", "other": header()[:-1] + "'more': 1}", "short": "{'descr': '<f4'}",
    "record": header("[('a', '<f4')]"), "negative": header(shape="(-2,)"), "words": header(shape="(two,)"),
    "beyond": header(shape="(99999999999999999999,)"), "behind": header() + "x", "escape": header(r"'\x3cf4'"),
    "bytes": "\xff\x00", "empty": ""}
huge = {"huge": header(shape="(4611686018427387904, 4611686018427387904)"),
        "none": header(shape="(0, 4611686018427387904, 4611686018427387904)")}
with zipfile.ZipFile("odd.npz", "w") as file:
    for name, text in {**entries, **huge}.items(): file.writestr(name + ".npy", npy(text) + 8 * b"\0")
    odd = '{"shape":(  2,),"fortran_order" :False\n,"descr":"<f4"} \n'
    file.writestr("odd.npy", npy(odd) + 8 * b"\0")
    file.writestr("scalar.npy", npy(header(shape="()")) + 4 * b"\7")
)python");
  const auto file = open_foreign_file(folder / "odd.npz");
  for (const std::string name : {"long", "blanks", "open", "twice", "other", "short", "record", "negative", "words",
                                 "beyond", "behind", "escape", "bytes", "empty"}) {
    try {
      file->open(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("odd.npz: array '" + name + "'"), std::string::npos) << error.what();
      EXPECT_LT(std::string(error.what()).size(), 1000U) << name;
    }
  }
  for (const std::string name : {"huge", "none"})
    expect_error([&] { file->open(name); }, {"odd.npz", name, "impossibly large"});
  EXPECT_EQ(file->open("odd")->description(), "float32 [2]");
  const auto scalar = file->open("scalar");
  EXPECT_EQ(scalar->description(), "float32 []");
  EXPECT_EQ(scalar->rows(), 1);
  std::vector<std::byte> out(4);
  scalar->read_next(1, out);
  EXPECT_EQ(out, std::vector<std::byte>(4, std::byte{7}));
  expect_error([&] { scalar->read_next(1, out); }, {"'scalar'", "cannot read 1 rows from row 1"});
}

TEST(Npz, EntriesThatClaimMoreThanTheyHoldAreRefused) {
  const Folder folder;
  run_python(folder, R"(
import numpy, zipfile
text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3000000000), }"
array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
size, claimed = (n.to_bytes(4, "little") for n in (len(array) + 9, len(array) + 3000000000))
for name, method in {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "other": zipfile.ZIP_BZIP2}.items():
    with zipfile.ZipFile("x.npz", "w", method) as file: file.writestr("a.npy", array + bytes(9))
    packed = open("x.npz", "rb").read()
    assert packed.count(size) >= 2
    open(name + ".npz", "wb").write(packed.replace(size, claimed) if name != "stored" else packed.replace(2 * size, size + claimed))
with zipfile.ZipFile("zeros.npz", "w", zipfile.ZIP_BZIP2) as file:
    with file.open("a.npy", "w") as entry: numpy.save(entry, numpy.zeros(4000000))
)");
  for (const std::string name : {"stored", "deflated", "other"})
    expect_error([&] { open_foreign_file(folder / (name + ".npz"))->open("a"); }, {name + ".npz"});
  // bzip2 packs these closer than deflate could.
  const auto zeros = open_foreign_file(folder / "zeros.npz");
  std::vector<std::byte> out(32'000'000, std::byte{1});
  zeros->open("a")->read_next(4'000'000, out);
  EXPECT_EQ(out, std::vector<std::byte>(out.size()));
}

TEST(Npz, AnArchiveWithTwoEntriesOfOneNameIsRefused) {
  const Folder folder;
  run_python(folder, R"(
import numpy, zipfile, warnings
warnings.simplefilter("ignore")
numpy.savez("x.npz", label=numpy.zeros(3), image=numpy.zeros(3))
with zipfile.ZipFile("x.npz", "a") as file: file.write("script.py", "label.npy")
numpy.savez("y.npz", label=numpy.zeros(3))
with zipfile.ZipFile("y.npz", "a") as file: file.write("script.py", "notes.txt")
)");
  expect_error([&] { open_foreign_file(folder / "x.npz"); }, {"x.npz", "two entries", "\"label.npy\"", "anew"});
  const auto file = open_foreign_file(folder / "y.npz");
  EXPECT_EQ(file->names(), std::vector<std::string>{"label"});
  EXPECT_EQ(contents_text(*file), "label, 'notes.txt', which is an entry that is no .npy array");
}

TEST(ForeignArray, DamageIsFound) {
  const Folder folder;
  run_python(folder, R"(
import numpy
numpy.savez("x.npz", a=numpy.arange(3000))
)");
  const std::string whole = read_bytes(folder / "x.npz");
  std::string flipped = whole;
  flipped[whole.size() / 2] ^= 4;
  write_bytes(folder / "flipped.npz", flipped);
  std::vector<std::byte> out(24000);
  const auto damaged = open_foreign_file(folder / "flipped.npz");
  expect_error([&] { damaged->open("a")->read_next(3000, out); }, {"flipped.npz", "'a'", "damaged"});
  write_bytes(folder / "short.npz", whole.substr(0, whole.size() / 2));
  expect_error([&] { open_foreign_file(folder / "short.npz"); }, {"short.npz"});
}

}  // namespace
}  // namespace couplet::testing
