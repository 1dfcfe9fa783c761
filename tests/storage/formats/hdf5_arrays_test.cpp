// HDF5 files from h5py whose arrays are no arrays, or whose values are not there.
#include "storage/formats/foreign_array.h"
#include "storage/formats/hdf5_rehearsal.h"

#include "tests/storage/storage_testing.h"

#include <H5Cpp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

namespace couplet::testing {
namespace {

/// All values of an array as bytes.
std::string bytes_of(ForeignFile& file, const std::string& name) {
  const auto array = file.open(name);
  std::string bytes(static_cast<std::size_t>(array->rows()) * array->row_bytes(), '\0');
  array->read_next(array->rows(), std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

TEST(Hdf5Arrays, LinksAreFollowedAndWhatIsNoArrayIsSaidToBeSo) {
  const Folder folder;
  run_python(folder, R"(
import h5py
with h5py.File("other.h5", "w") as file: file["there"] = [7, 8]
with h5py.File("x.h5", "w") as file:
    file["plain"] = [1, 2]
    file["pairs/inner"] = [3, 4]
    file["soft"] = h5py.SoftLink("/pairs/inner")
    file["outside"] = h5py.ExternalLink("other.h5", "/there")
    file["type"] = file["plain"].dtype
    file["linked group"] = h5py.SoftLink("/pairs")
    file["nowhere"] = h5py.SoftLink("/pairs/none")
    file["gone"] = h5py.ExternalLink("gone.h5", "/there")
    file["circle"] = h5py.SoftLink("/circle")
)");
  const auto file = open_foreign_file(folder / "x.h5");
  EXPECT_EQ(file->names(), (std::vector<std::string>{"outside", "plain", "soft"}));
  EXPECT_EQ(bytes_of(*file, "soft"), std::string("\3\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(bytes_of(*file, "outside"), std::string("\7\0\0\0\0\0\0\0\10\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(file->others(),
            (std::map<std::string, std::string>{{"pairs", "a group"},
                                                {"linked group", "a group"},
                                                {"type", "a named type"},
                                                {"nowhere", "a link to '/pairs/none', where there is nothing"},
                                                {"circle", "a link to '/circle', where there is nothing"},
                                                {"gone",
                                                 "a link to '/there' in the file 'gone.h5', which cannot be "
                                                 "followed"}}));
}

TEST(Hdf5Arrays, TypesThatAreNoNumbersAreNamed) {
  const Folder folder;
  run_python(folder, R"(
import numpy, h5py
with h5py.File("x.h5", "w") as file:
    file["text"] = "hello"
    file["truth"] = numpy.zeros(3, bool)
    file["complex"] = numpy.zeros(3, "c8")
    file["opaque"] = numpy.zeros(3, "V2")
    file["nothing"] = h5py.Empty("f4")
    bfloat16 = h5py.h5t.IEEE_F32LE.copy()
    bfloat16.set_fields(15, 7, 8, 0, 7); bfloat16.set_size(2); bfloat16.set_ebias(127)
    h5py.h5d.create(file.id, b"bfloat16", bfloat16, h5py.h5s.create_simple((3,)))
)");
  const auto file = open_foreign_file(folder / "x.h5");
  const auto expect = [&](const std::string& name, const std::string& part) {
    expect_error([&] { file->open(name); }, {"x.h5: data set '" + name + "'", part});
  };
  expect("text", "texts of");
  expect("truth", "truth values");
  expect("complex", "records of 8 bytes");
  expect("opaque", "opaque elements of 2 bytes");
  expect("bfloat16", "numbers of 2 bytes");
  expect("nothing", "neither values nor a shape");
}

TEST(Hdf5Arrays, AScalarIsOneRow) {
  const Folder folder;
  run_python(folder, "import h5py\nwith h5py.File('x.h5', 'w') as file: file['x'] = 258\n");
  const auto file = open_foreign_file(folder / "x.h5");
  EXPECT_EQ(file->open("x")->description(), "int64 []");
  EXPECT_EQ(bytes_of(*file, "x"), std::string("\2\1\0\0\0\0\0\0", 8));
}

TEST(Hdf5Arrays, ExtentsThatNoFileHasAreRefused) {
  const Folder folder;
  run_python(folder, R"(
import h5py
with h5py.File("x.h5", "w") as file:
    file.create_dataset("huge", (2**40, 2**40), "f8", chunks=(1, 1))
    file.create_dataset("none", (0, 2**40, 2**40), "f8", chunks=(1, 1, 1), maxshape=(None, 2**40, 2**40))
    file.create_dataset("short", (0, 3), "f8")
)");
  const auto file = open_foreign_file(folder / "x.h5");
  expect_error([&] { file->open("huge"); }, {"x.h5: data set 'huge'"});
  expect_error([&] { file->open("none"); }, {"x.h5: data set 'none'", "impossibly large"});
  EXPECT_EQ(file->open("short")->description(), "float64 [0, 3]");
}

TEST(Hdf5Arrays, ValuesThatTheFileHasNoRoomForAreRefused) {
  const Folder folder;
  run_python(folder, R"(
import h5py, numpy
with h5py.File("x.h5", "w") as file:
    file["plain"] = numpy.zeros((3, 5), "u1")
    file.create_dataset("packed", data=numpy.zeros((3, 5), "u1"), chunks=(3, 5), compression="gzip")
bytes = open("x.h5", "rb").read()
# The extents of both: 3 and 5 become 3 and 2^40, those of the chunk too.
for name, size in {"plain": 8, "packed": 4}.items():
    five, more = (5).to_bytes(size, "little"), (2**30).to_bytes(size, "little")
    three = (3).to_bytes(size, "little")
    assert three + five in bytes
    open(name + ".h5", "wb").write(bytes.replace(three + five, three + more))
)");
  for (const std::string name : {"plain", "packed"})
    expect_error([&] { open_foreign_file(folder / (name + ".h5"))->open(name); },
                 {name + ".h5", "data set '" + name + "'"});
}

/// Opens a file and reads all its arrays.
void read_file_of_others(const fs::path& path) {
  const auto file = open_foreign_file(path);
  for (const std::string& name : file->names()) bytes_of(*file, name);
}

// Both are files of h5py with a byte changed: HDF5 1.10.8 crashes on the first and does not come to an end of the
// second.
TEST(Hdf5Arrays, FilesThatTheLibraryCrashesOnAreRefused) {
  const fs::path files = COUPLET_SOURCE_DIR "/tests";
  expect_error([&] { read_file_of_others(files / "fuzz/corpus/hdf5/crashes-library"); }, {"crashes-library"});
  expect_error([&] { read_file_of_others(files / "data/endless.h5"); }, {"endless.h5"});
}

TEST(Hdf5Arrays, ACrashInARehearsalIsAnError) {
  const Folder folder;
  write_bytes(folder / "x.h5", "");
  const auto expect = [&](const std::function<void()>& work, const std::string& part) {
    expect_error([&] { rehearse(folder / "x.h5", "read it", work); }, {"x.h5", "damaged", "cannot read it", part});
  };
  expect([] { std::raise(SIGSEGV); }, "crashes (signal 11)");
  expect([] { std::abort(); }, "crashes (signal 6)");
  expect([] { std::_Exit(3); }, "status 3");
  expect([] { std::raise(SIGPROF); }, "no end within 2 s");
  EXPECT_NO_THROW(rehearse(folder / "x.h5", "read it", [] { fail("the file is odd"); }));
}

TEST(Hdf5Arrays, OneProcessRehearsesAllFilesUntilItCrashes) {
  const Folder folder;
  const fs::path processes = folder / "processes";
  Rehearsal rehearsal("read it", [&](const fs::path& file) {
    std::ofstream(processes, std::ios::app) << ::getpid() << "\n";
    if (file == folder / "crashes.h5") std::raise(SIGSEGV);
  });
  for (const char* name : {"a.h5", "b.h5"}) rehearsal.try_on(folder / name);
  expect_error([&] { rehearsal.try_on(folder / "crashes.h5"); }, {"crashes.h5", "signal 11"});
  for (const char* name : {"c.h5", "d.h5"}) rehearsal.try_on(folder / name);
  std::ifstream file(processes);
  const std::vector<pid_t> found(std::istream_iterator<pid_t>(file), {});
  ASSERT_EQ(found.size(), 6U);
  EXPECT_TRUE(found[0] == found[1] && found[0] == found[2] && found[4] == found[5]);
  EXPECT_EQ((std::set<pid_t>{found[0], found[3], found[4], ::getpid()}).size(), 4U) << "a new one tells what crashes";
  ::kill(found[5], SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(found[5]), &info, WEXITED | WNOWAIT), 0);
  EXPECT_NO_THROW(rehearsal.try_on(folder / "e.h5")) << "somebody killed it while it had nothing to do";
}

TEST(Hdf5Arrays, AUserBlockMayStandInFront) {
  const Folder folder;
  run_python(folder, R"(
import h5py
for size in (0, 512, 2048, 65536):
    with h5py.File(f"{size}.h5", "w", userblock_size=size) as file: file["x"] = [258]
)");
  for (const std::string size : {"0", "512", "2048", "65536"})
    EXPECT_EQ(bytes_of(*open_foreign_file(folder / (size + ".h5")), "x"), std::string("\2\1\0\0\0\0\0\0", 8)) << size;
}

TEST(Hdf5Arrays, ValuesThatWereNeverWrittenAreRefused) {
  const Folder folder;
  run_python(folder, R"(
import h5py
with h5py.File("x.h5", "w") as file:
    file.create_dataset("plain", (10,), "f4")
    file.create_dataset("chunked", (10, 3), "f4", chunks=(4, 2))
    for name, options in {"part": {}, "packed": {"compression": "gzip"}, "growing": {"maxshape": (None, 3)}}.items():
        file.create_dataset(name, (10, 3), "f4", chunks=(4, 2), **options)[:4] = 1
    file.create_dataset("whole", (10, 3), "f4", chunks=(4, 2), compression="gzip")[:] = 1
    file.create_dataset("empty", (0, 3), "f4", chunks=(4, 2), maxshape=(None, 3))
with h5py.File("latest.h5", "w", libver="latest") as file:
    file.create_dataset("part", (10, 3), "f4", chunks=(4, 2), maxshape=(None, 3))[:4] = 1
    file.create_dataset("whole", (10, 3), "f4", chunks=(10, 3))[:] = 1
)");
  const auto file = open_foreign_file(folder / "x.h5"), latest = open_foreign_file(folder / "latest.h5");
  expect_error([&] { file->open("plain"); }, {"x.h5: data set 'plain'", "never written"});
  expect_error([&] { file->open("chunked"); }, {"x.h5: data set 'chunked'", "6 of its 6 chunks were never written"});
  for (const std::string name : {"part", "packed", "growing"})
    expect_error([&] { file->open(name); }, {"x.h5: data set '" + name, "4 of its 6 chunks were never written"});
  expect_error([&] { latest->open("part"); }, {"latest.h5", "4 of its 6 chunks were never written"});
  for (const auto& each : {file.get(), latest.get()}) EXPECT_EQ(bytes_of(*each, "whole").size(), 120U);
  EXPECT_EQ(file->open("empty")->rows(), 0);
}

TEST(Hdf5Arrays, AFilterThatIsNotThereIsNamed) {
  const Folder folder;
  run_python(folder, R"(
import h5py
with h5py.File("x.h5", "w") as file: file.create_dataset("x", data=list(range(100)), chunks=(50,), compression="lzf")
bytes = open("x.h5", "rb").read()
lzf, other = ((number).to_bytes(2, "little") + (8).to_bytes(2, "little") for number in (32000, 32123))
assert bytes.count(lzf) == 1
open("x.h5", "wb").write(bytes.replace(lzf, other))
)");
  expect_error([&] { open_foreign_file(folder / "x.h5")->open("x"); },
               {"x.h5: data set 'x'", "filter 32123 ('lzf')", "write it with gzip"});
}

TEST(Hdf5Arrays, WhatH5pyPacksWithLzfIsRead) {
  const Folder folder;
  run_python(folder, R"(
import h5py, numpy
random = numpy.random.default_rng(1)
arrays = {"zeros": numpy.zeros((1000, 7), "f4"), "steps": numpy.arange(9000, dtype="i4") // 300,
          "noise": random.integers(0, 256, 5000).astype("u1"), "few": random.integers(0, 3, 20000).astype("u1"),
          "repeated": numpy.tile(random.integers(0, 256, 3000).astype("u1"), 5)}
with h5py.File("x.h5", "w") as file:
    for name, values in arrays.items():
        file.create_dataset(name, data=values, compression="lzf", shuffle=name == "steps")
        open(name + ".bytes", "wb").write(values.tobytes())
    file.create_dataset("damaged", data=arrays["zeros"], chunks=(1000, 7), compression="lzf")
with h5py.File("x.h5", "r+") as file:
    packed = file["damaged"].id.read_direct_chunk((0, 0))[1]
    file["damaged"].id.write_direct_chunk((0, 0), packed[:-1])
)");
  const auto file = open_foreign_file(folder / "x.h5");
  for (const std::string name : {"zeros", "steps", "noise", "few", "repeated"})
    EXPECT_TRUE(bytes_of(*file, name) == read_bytes(folder / (name + ".bytes"))) << name;
  expect_error([&] { bytes_of(*file, "damaged"); }, {"x.h5", "'damaged'"});
}

TEST(Hdf5Arrays, ATreeHasTheDataSetsOfAllGroups) {
  const Folder folder;
  run_python(folder, R"(
import h5py
with h5py.File("x.h5", "w") as file:
    file["plain"] = [1, 2]
    file["pairs/inner"] = [3, 4]
    file["pairs/more/deep"] = [5, 6]
    file["pairs/more/round"] = file["pairs"]
    file["pairs/soft"] = h5py.SoftLink("/plain")
    file["pairs/nowhere"] = h5py.SoftLink("/none")
    file.create_dataset("pairs/unwritten", (4,), "i8", chunks=(2,))
)");
  const auto tree = open_hdf5_tree(folder / "x.h5");
  std::vector<std::string> names = tree->names();
  std::ranges::sort(names);
  EXPECT_EQ(names,
            (std::vector<std::string>{"pairs/inner", "pairs/more/deep", "pairs/soft", "pairs/unwritten", "plain"}));
  EXPECT_EQ(bytes_of(*tree, "pairs/more/deep"), std::string("\5\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0", 16));
  expect_error([&] { tree->open("pairs/unwritten"); }, {"x.h5: data set 'pairs/unwritten'", "never written"});
}

TEST(Hdf5Arrays, RawValuesOutsideTheFileMustBeThere) {
  const Folder folder;
  const std::string raw = (folder / "raw").string();
  run_python(folder, R"(
import h5py, os
raw = os.path.abspath("raw")
open(raw, "wb").write(bytes(range(100)))
def external(name, files): file.create_dataset(name, (40,), "u1", external=files)
with h5py.File("x.h5", "w") as file:
    external("whole", [(raw, 10, 20), (raw, 60, h5py.h5f.UNLIMITED)])
    external("short", [(raw, 70, 40)])
    external("behind", [(raw, 200, 40)])
    external("gone", [(raw, 10, 20), (raw + ".gone", 0, 20)])
)");
  const auto file = open_foreign_file(folder / "x.h5");
  std::string expected;
  for (int i = 0; i < 40; ++i) expected += static_cast<char>(i < 20 ? 10 + i : 40 + i);
  EXPECT_EQ(bytes_of(*file, "whole"), expected);
  expect_error([&] { file->open("short"); }, {"'short'", raw, "100 bytes", "expected 40 from byte 70"});
  expect_error([&] { file->open("behind"); }, {"'behind'", raw, "100 bytes", "expected 40 from byte 200"});
  expect_error([&] { file->open("gone"); }, {"'gone'", raw + ".gone", "not there"});
}

TEST(Hdf5Arrays, SourcesOfAVirtualDataSetMustBeThere) {
  const Folder folder;
  run_python(folder, R"(
import h5py, os
for name in ("a", "b"):
    with h5py.File(name + ".h5", "w") as file:
        file["x"] = [ord(name)] * 10
        file.create_dataset("unwritten", (10,), "i8", chunks=(5,))[:5] = 1
def joined(name, *sources, length=20):
    layout = h5py.VirtualLayout((length,), "i8")
    for i, (path, source) in enumerate(sources):
        layout[10 * i:10 * i + 10] = h5py.VirtualSource(path, source, shape=(10,))
    file.create_virtual_dataset(name, layout, fillvalue=3)
with h5py.File("x.h5", "w", libver="latest") as file:
    file["here"] = list(range(10))
    joined("whole", ("a.h5", "x"), ("b.h5", "x"))
    joined("moved", ("/nowhere/a.h5", "x"), ("b.h5", "x"))
    joined("own", (".", "here"), ("a.h5", "x"))
    joined("nested", ("x.h5", "own"), ("b.h5", "x"))
    joined("gone", ("a.h5", "x"), ("c.h5", "x"))
    joined("renamed", ("a.h5", "x"), ("b.h5", "y"))
    joined("holes", ("a.h5", "x"), ("b.h5", "unwritten"))
    joined("few", ("a.h5", "x"))
    joined("circle", ("x.h5", "circle"), ("x.h5", "circle"))
    joined("short", ("short.h5", "x"), ("b.h5", "x"))
    for name, path in (("sliced", "a.h5"), ("slices", "short.h5")):
        layout = h5py.VirtualLayout((4,), "i8")
        layout[:] = h5py.VirtualSource(path, "x", shape=(10,))[2:6]
        file.create_virtual_dataset(name, layout)
    layout = h5py.VirtualLayout((10,), "i8", maxshape=(None,))
    layout[:h5py.h5s.UNLIMITED] = h5py.VirtualSource("a.h5", "x", shape=(10,), maxshape=(None,))[:h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("growing", layout)
with h5py.File("short.h5", "w") as other: other["x"] = [1, 2, 3]
)");
  const auto file = open_foreign_file(folder / "x.h5");
  const std::string whole = bytes_of(*file, "whole");
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(whole.at(8 * i), i < 10 ? 'a' : 'b') << i;
  EXPECT_EQ(bytes_of(*file, "moved"), whole);
  EXPECT_EQ(bytes_of(*file, "own").at(8 * 9), 9);
  EXPECT_EQ(bytes_of(*file, "nested").at(8 * 9), 9);
  expect_error([&] { file->open("gone"); }, {"x.h5: data set 'gone'", "'x' in the file 'c.h5'", "no such file"});
  expect_error([&] { file->open("renamed"); }, {"x.h5: data set 'renamed'", "'y' in the file 'b.h5'", "not there"});
  expect_error([&] { file->open("holes"); },
               {"'unwritten' in the file 'b.h5'", "1 of its 2 chunks were never written"});
  expect_error([&] { file->open("few"); }, {"x.h5: data set 'few'", "10 of its values have no source"});
  expect_error([&] { file->open("circle"); }, {"x.h5: data set 'circle'", "in a circle"});
  EXPECT_EQ(bytes_of(*file, "sliced").at(8 * 3), 'a');
  expect_error([&] { file->open("slices"); }, {"'x' in the file 'short.h5'", "[3]", "too short"});
  expect_error([&] { file->open("growing"); }, {"x.h5: data set 'growing'", "sources of any length"});
  expect_error([&] { file->open("short"); }, {"'x' in the file 'short.h5'", "[3]", "too short"});
}

}  // namespace
}  // namespace couplet::testing
