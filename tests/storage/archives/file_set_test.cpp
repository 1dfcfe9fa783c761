#include "storage/archives/file_set.h"

#include "tests/storage/storage_testing.h"

#include <sys/stat.h>

#include <algorithm>
#include <thread>

namespace couplet::testing {
namespace {

/// What the Python below packs: names that test the order, spaces, letters beyond ASCII, and hidden files.
const std::string packed_files = R"(
import zipfile, tarfile, io
files = {"a-c/1.png": b"five", "a/b/2.png": b"two", "a/b.png": b"three", "a/1.png": b"", "z \u00fc \u6587/x y.png": b"four" * 5000,
         ".hidden/3.png": b"-", "a/.x.png": b"-", "__MACOSX/a/._1.png": b"-"}
def pack_tar(name, format, files=files, prefix=""):
    with tarfile.open(name, "w", format=format) as tar:
        for key in ["empty", "a"]:
            folder = tarfile.TarInfo(prefix + key)
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
        for key, value in reversed(files.items()):
            info = tarfile.TarInfo(prefix + key)
            info.size = len(value)
            tar.addfile(info, io.BytesIO(value))
def pack_zip(name, method, files=files):
    with zipfile.ZipFile(name, "w", method) as archive:
        archive.writestr("empty/", b"")
        archive.writestr("a/", b"")
        for key, value in reversed(files.items()):
            archive.writestr(key, value)
)";

std::string text_of(const FileSet& files, std::int64_t file) {
  const std::vector<std::byte> bytes = files.read(file);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> names_of(const FileSet& files) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < files.count(); ++i) names.push_back(files.name(i));
  return names;
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

void expect_packed_files(const FileSet& files) {
  const std::string last = "z \xc3\xbc \xe6\x96\x87/x y.png";
  EXPECT_EQ(names_of(files), (std::vector<std::string>{"a/1.png", "a/b/2.png", "a/b.png", "a-c/1.png", last}))
      << files.path();
  ASSERT_EQ(files.count(), 5);
  const std::vector<std::string> texts{"", "two", "three", "five", repeated("four", 5000)};
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(text_of(files, i), texts[static_cast<std::size_t>(i)]) << files.path() << " " << i;
    EXPECT_EQ(files.size(i), texts[static_cast<std::size_t>(i)].size());
    EXPECT_EQ(files.find(files.name(i)), i);
  }
  EXPECT_EQ(files.find("a/2.png"), std::nullopt);
  EXPECT_EQ(files.find("zz"), std::nullopt);
  EXPECT_TRUE(files.has_files_in("a/b"));
  EXPECT_FALSE(files.has_files_in("a/b.png"));
  EXPECT_EQ(files.empty_folders(), std::vector<std::string>{"empty"});
  EXPECT_NE(files.shown(1).find("b/2.png"), std::string::npos);
}

/// The header of an empty file.
std::string tar_header_of(const std::string& name) {
  std::string block = name;
  block.resize(512, '\0');
  block.replace(124, 11, "00000000000").replace(148, 8, "        ");
  block[156] = '0';
  unsigned sum = 0;
  for (const char byte : block) sum += static_cast<unsigned char>(byte);
  return block.replace(148, 7, fmt::format("{:06o}", sum) + '\0');
}

void open(const fs::path& path) {
  open_file_set(path);
}

TEST(FileSet, AFolderItsZipAndItsTarHaveTheSameFiles) {
  const Folder folder;
  run_python(folder, packed_files + R"(
for key, value in files.items():
    os.makedirs("folder/" + os.path.dirname(key), exist_ok=True)
    open("folder/" + key, "wb").write(value)
os.makedirs("folder/empty")
pack_zip("stored", zipfile.ZIP_STORED)
pack_zip("deflated.tar", zipfile.ZIP_DEFLATED)
pack_tar("pax", tarfile.PAX_FORMAT)
pack_tar("gnu.zip", tarfile.GNU_FORMAT)
pack_tar("ustar", tarfile.USTAR_FORMAT, prefix="./")
)");
  for (const char* name : {"folder", "stored", "deflated.tar", "pax", "gnu.zip", "ustar"})
    expect_packed_files(*open_file_set(folder / name));
  EXPECT_EQ(file_set_kind(folder / "folder"), FileSetKind::folder);
  EXPECT_EQ(file_set_kind(folder / "deflated.tar"), FileSetKind::zip);
  EXPECT_EQ(file_set_kind(folder / "gnu.zip"), FileSetKind::tar);
  EXPECT_EQ(file_set_kind(folder / "script.py"), FileSetKind::none);
}

TEST(FileSet, ProgramsOfTheSystemWriteWhatIsRead) {
  const Folder folder;
  run_python(folder, R"(
os.makedirs("f/" + "long" * 40 + "/" + "longer" * 30)
open("f/" + "long" * 40 + "/" + "longer" * 30 + "/1.png", "w").write("one")
open("f/2.png", "w").write("two")
)");
  const std::string at = "cd " + (folder.path()).string() + " && ";
  for (const char* format : {"gnu", "pax", "posix"}) {
    ASSERT_EQ(run_command(at + "tar -c --format=" + format + " -f " + format + " -C f .").status, 0);
    const auto files = open_file_set(folder / format);
    ASSERT_EQ(files->count(), 2) << format;
    EXPECT_EQ(files->name(0), "2.png");
    EXPECT_EQ(files->name(1), repeated("long", 40) + "/" + repeated("longer", 30) + "/1.png");
    EXPECT_EQ(text_of(*files, 1), "one");
  }
}

TEST(FileSet, NumbersBeyondFourGigabytesAreRead) {
  const Folder folder;
  run_python(folder, R"(
import zipfile, tarfile, struct
with zipfile.ZipFile("forced.zip", "w") as archive:
    with archive.open("a.txt", "w", force_zip64=True) as file: file.write(b"alpha")
# Offsets and sizes of a directory that all stand in the zip64 field.
body = b"PK\3\4" + struct.pack("<5H3I2H", 45, 0, 0, 0, 0, 0x8587d865, 5, 5, 1, 0) + b"b" + b"abcde"
field = struct.pack("<2H3Q", 1, 24, 5, 5, 0)
entry = b"PK\1\2" + struct.pack("<6H3I5H2I", 45, 45, 0, 0, 0, 0, 0x8587d865, 0xffffffff, 0xffffffff, 1, len(field), 0, 0, 0, 0, 0xffffffff) + b"b" + field
end64 = b"PK\6\6" + struct.pack("<Q2H2I4Q", 44, 45, 45, 0, 0, 1, 1, len(entry), len(body))
locator = b"PK\6\7" + struct.pack("<IQI", 0, len(body) + len(entry), 1)
end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 3) + b"...";
open("all.zip", "wb").write(body + entry + end64 + locator + end)
# A tar header whose size is in base 256.
info = tarfile.TarInfo("c"); info.size = 5
block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
block[124:136] = b"\x80" + (5).to_bytes(11, "big")
block[148:156] = b" " * 8
block[148:156] = b"%06o\0 " % sum(block)
open("base", "wb").write(bytes(block) + b"gamma".ljust(512, b"\0") + bytes(1024))
)");
  EXPECT_EQ(text_of(*open_file_set(folder / "forced.zip"), 0), "alpha");
  EXPECT_EQ(text_of(*open_file_set(folder / "all.zip"), 0), "abcde");
  EXPECT_EQ(text_of(*open_file_set(folder / "base"), 0), "gamma");
}

TEST(FileSet, ArchivesOfAFolderAreNamedByArchive) {
  const Folder folder;
  run_python(folder, packed_files + R"(
os.mkdir("shards")
pack_tar("shards/s-1.tar", tarfile.PAX_FORMAT, {"2.jpg": b"d", "1.jpg": b"c"})
pack_zip("shards/s-0.zip", zipfile.ZIP_STORED, {"1.jpg": b"a", "9.jpg": b"b"})
)");
  const auto files = open_file_set(folder / "shards");
  EXPECT_EQ(names_of(*files), (std::vector<std::string>{"s-0/1.jpg", "s-0/9.jpg", "s-1/1.jpg", "s-1/2.jpg"}));
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(text_of(*files, i), std::string(1, static_cast<char>('a' + i)));
  EXPECT_EQ(files->find("s-1/2.jpg"), 3);
  EXPECT_EQ(files->shown(3), (folder / "shards" / "s-1.tar: 2.jpg").string());
  EXPECT_EQ(files->empty_folders(), (std::vector<std::string>{"s-0/a", "s-0/empty", "s-1/a", "s-1/empty"}));
  write_bytes(folder / "shards" / "t.txt", "about");
  expect_error([&] { open(folder / "shards"); }, {"t.txt", "among zip and tar archives"});
  fs::rename(folder / "shards" / "t.txt", folder / "shards" / ".t");
  fs::copy_file(folder / "shards" / "s-1.tar", folder / "shards" / "s-0.tar");
  expect_error([&] { open(folder / "shards"); }, {"two archives of the name 's-0'"});
  write_bytes(folder / "shards" / "about", "them");
  expect_error([&] { open(folder / "shards"); }, {"about: lies among zip and tar archives"});
  write_bytes(folder / "shards" / "r.dat", "\x89PNG\r\n\x1a\n");
  EXPECT_EQ(names_of(*open_file_set(folder / "shards")),
            (std::vector<std::string>{"about", "r.dat", "s-0.tar", "s-0.zip", "s-1.tar"}));
}

TEST(FileSet, LinksAreFollowedAndCirclesRefused) {
  const Folder folder;
  fs::create_directories(folder / "set" / "a");
  fs::create_directories(folder / "else");
  write_bytes(folder / "set" / "a" / "1", "one");
  write_bytes(folder / "else" / "2", "two");
  fs::create_symlink("../else", folder / "set" / "b");
  fs::create_symlink("a/1", folder / "set" / "c");
  const auto files = open_file_set(folder / "set");
  EXPECT_EQ(names_of(*files), (std::vector<std::string>{"a/1", "b/2", "c"}));
  EXPECT_EQ(text_of(*files, 2), "one");

  fs::create_symlink("..", folder / "set" / "a" / "up");
  expect_error([&] { open(folder / "set"); },
               {"a/up: is the same folder as " + (folder / "set").string(), "count twice"});
  fs::remove(folder / "set" / "a" / "up");
  fs::create_symlink("b", folder / "set" / "again");
  expect_error([&] { open(folder / "set"); }, {"is the same folder as"});
  fs::remove(folder / "set" / "again");
  fs::create_symlink("nowhere", folder / "set" / "d");
  expect_error([&] { open(folder / "set"); }, {"set/d: is a link that leads nowhere"});
  fs::remove(folder / "set" / "d");
  fs::create_symlink("d", folder / "set" / "d");
  expect_error([&] { open(folder / "set"); }, {"set/d: ", "it is a link"});
  fs::remove(folder / "set" / "d");
  ASSERT_EQ(::mkfifo((folder / "set" / "pipe").c_str(), 0600), 0);
  expect_error([&] { open(folder / "set"); }, {"set/pipe: is a pipe, socket or device"});
}

TEST(FileSet, WhatIsNoSetOfFilesIsRefused) {
  const Folder folder;
  run_python(folder, R"(
import gzip, lzma, bz2, io, tarfile
tarfile.open("a.tar", "w").addfile(tarfile.TarInfo("a"))
data = open("a.tar", "rb").read()
gzip.open("a.tar.gz", "w").write(data)
lzma.open("a.tar.xz", "w").write(data)
bz2.open("a.tar.bz2", "w").write(data)
open("a.zst", "wb").write(b"\x28\xb5\x2f\xfd....")
)");
  expect_error([&] { open(folder / "none"); }, {"none: does not exist"});
  expect_error([&] { open(folder / "script.py"); }, {"script.py: is neither a folder, nor a zip or tar archive"});
  expect_error([&] { open(folder / "a.tar.gz"); }, {"compressed as a whole (gzip)", "gunzip -k"});
  expect_error([&] { open(folder / "a.tar.xz"); }, {"xz", "unxz"});
  expect_error([&] { open(folder / "a.tar.bz2"); }, {"bzip2"});
  expect_error([&] { open(folder / "a.zst"); }, {"zstd", "unzstd"});
}

TEST(FileSet, TarArchivesThatAreNotReadSayWhy) {
  const Folder folder;
  run_python(folder, R"(
import tarfile, io
def one(name, change=lambda info: None, key="a", size=3):
    with tarfile.open(name, "w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(key)
        info.size = size
        change(info)
        tar.addfile(info, io.BytesIO(b"x" * size))
def kind(type, **fields):
    def change(info):
        info.type, info.size = type, 0
        for key, value in fields.items(): setattr(info, key, value)
    return change
one("link", kind(tarfile.SYMTYPE, linkname="b"))
one("hard", kind(tarfile.LNKTYPE, linkname="b"))
one("pipe", kind(tarfile.FIFOTYPE))
one("sparse", kind(tarfile.GNUTYPE_SPARSE))
one("root", key="/etc/a")
one("up", key="b/../../a")
one("good", size=3000)
good = open("good", "rb").read()
open("joined", "wb").write(good + good)
open("cut", "wb").write(good[:2000])
open("unended", "wb").write(good[:512 + 3072])
open("torn", "wb").write(good[:512 + 3072] + b"abc" * 1000)
with tarfile.open("twice", "w") as tar:
    for key in ["a", "b", "./a"]: tar.addfile(tarfile.TarInfo(key))
info = tarfile.TarInfo("big"); info.size = 1 << 40
open("claims", "wb").write(info.tobuf() + bytes(1024))
pax = tarfile.TarInfo("p").create_pax_header({"name": "p", "size": 0, "mtime": 0, "mode": 0, "uid": 0, "gid": 0, "uname": "", "gname": "", "type": b"0", "linkname": "", "devmajor": 0, "devminor": 0, "chksum": 0}, "utf-8")
info = tarfile.TarInfo("p"); info.pax_headers = {"comment": "abcdef"}
pax = bytearray(info.tobuf(tarfile.PAX_FORMAT))
at = pax.index(b" comment=")
pax[at - 2:at] = b"99"
open("records", "wb").write(bytes(pax) + bytes(1024))
)");
  const auto expect = [&](const char* name, const std::vector<std::string>& parts) {
    expect_error([&] { open(folder / name); }, parts);
  };
  expect("link", {"link: holds the link 'a'", "--dereference"});
  expect("hard", {"hard: holds the link 'a'"});
  expect("pipe", {"holds 'a', which is no file but of type '6'"});
  expect("sparse", {"'a' as a sparse file"});
  expect("root", {"'/etc/a', a name that begins at the root"});
  expect("up", {"'b/../../a', a name that leads out of it"});
  expect("joined", {"goes on behind its end"});
  expect("cut", {"is cut short: 2.9 KiB of 'a'", "ends at byte 2000"});
  expect("unended", {"is cut short: it ends at byte 3584 without the blocks of zeros"});
  expect("torn", {"is damaged: there is no header at byte 3584"});
  expect("twice", {"holds two files of the name 'a'"});
  expect("claims", {"is cut short: 1.0 TiB of 'big'"});
  expect("records", {"a pax record that is damaged"});
}

TEST(FileSet, ZipArchivesThatAreNotReadSayWhy) {
  const Folder folder;
  run_python(folder, R"(
import zipfile, struct, warnings
warnings.simplefilter("ignore")
def one(name, *entries, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(name, "w", method) as archive:
        for key, value in entries: archive.writestr(key, value)
    return bytearray(open(name, "rb").read())
def save(name, data): open(name, "wb").write(bytes(data))
link = zipfile.ZipInfo("a"); link.create_system = 3; link.external_attr = 0o120777 << 16
one("link", (link, "b"))
one("twice", ("a", "1"), ("b", "2"), ("./a", "3"))
one("up", ("../a", "1"))
one("xz", ("a", "1" * 100), method=zipfile.ZIP_LZMA)
good = one("good", ("a.png", "hello, world"), ("b.png", "more"))
save("cut", good[:-30])
central = good.index(b"PK\1\2")
data = bytearray(good); data[central + 8] |= 1; save("locked", data)
data = bytearray(good); data[30 + 5 + 2] ^= 255; save("flipped", data)
data = bytearray(good); data[0:4] = b"PKxx"; save("none", data)
data = bytearray(good); data[0:4] = b"PK\3\4"; data[28:30] = b"\xff\xff"; save("header", data)
data = bytearray(good); data[central + 24:central + 28] = b"\xff\0\0\0"; save("lies", data)
data = bytearray(good); data[central + 42:central + 46] = struct.pack("<I", 1 << 30); save("beyond", data)
data = bytearray(good); second = good.index(b"PK\1\2", central + 1)
data[second + 42:second + 46] = bytes(4); save("shared", data)
data = bytearray(good); data[-14:-12] = b"\5\0"; data[-12:-10] = b"\5\0"; save("count", data)
data = bytearray(good); data[-6:-2] = struct.pack("<I", 1 << 31); save("directory", data)
data = bytearray(good); data[second:second + 4] = b"PKzz"; save("entry", data)
data = bytearray(good); data[-18:-16] = b"\1\0"; save("part", data)
deflated = one("deflated", ("a", bytes(range(256)) * 8), method=zipfile.ZIP_DEFLATED)
data = bytearray(deflated); data[40] ^= 255; data[41] ^= 255; save("bits", data)
)");
  const auto expect = [&](const char* name, const std::vector<std::string>& parts) {
    expect_error([&] { open(folder / name); }, parts);
  };
  const auto expect_unread = [&](const char* name, const std::vector<std::string>& parts) {
    const auto files = open_file_set(folder / name);
    expect_error([&] { files->read(0); }, parts);
  };
  expect("link", {"holds 'a', which is a link"});
  expect("twice", {"holds two files of the name 'a'"});
  expect("up", {"'../a', a name that leads out of it"});
  expect("xz", {"'a', which is packed in a way (number 14)", "zip -0"});
  expect("cut", {"is cut short: it has no directory"});
  expect("locked", {"'a.png', which is encrypted"});
  expect("lies", {"is stored, but has 255 bytes in 12"});
  expect("beyond", {"should lie at byte 1073741824"});
  expect("shared", {"lie in the same bytes"});
  expect("count", {"has 2 entries, but it should have 5"});
  expect("directory", {"its directory should have"});
  expect("entry", {"entry 1 of its directory is none"});
  expect("part", {"is one of the parts of an archive"});
  expect("none", {"is neither a folder, nor a zip or tar archive"});
  expect_unread("header", {"header: a.png: is damaged: its header at byte 0 is none"});
  expect_unread("flipped", {"flipped: a.png: is damaged: its checksum is"});
  expect_unread("bits", {"bits: a: is damaged"});
  EXPECT_EQ(open_file_set(folder / "good")->count(), 2);
}

TEST(FileSet, BombsAreNotUnpacked) {
  const Folder folder;
  run_python(folder, R"(
import zipfile, struct
with zipfile.ZipFile("ratio.zip", "w", zipfile.ZIP_DEFLATED) as archive: archive.writestr("a.png", bytes(4 << 20))
data = bytearray(open("ratio.zip", "rb").read())
central = data.index(b"PK\1\2")
data[central + 24:central + 28] = struct.pack("<I", 3 << 30)
open("large.zip", "wb").write(bytes(data))
with zipfile.ZipFile("small.zip", "w", zipfile.ZIP_DEFLATED) as archive: archive.writestr("a.png", bytes(1 << 20))
data = bytearray(open("small.zip", "rb").read())
central = data.index(b"PK\1\2")
data[central + 24:central + 28] = struct.pack("<I", 1000)
open("less.zip", "wb").write(bytes(data))
os.mkdir("f")
open("f/huge.png", "wb").truncate(3 << 30)
)");
  const auto expect_unread = [&](const char* name, const std::vector<std::string>& parts) {
    const auto files = open_file_set(folder / name);
    expect_error([&] { files->read(0); }, parts);
  };
  expect_unread("ratio.zip", {"ratio.zip: a.png: would unpack to 4.0 MiB from 4.0 KiB, over 200 times as much"});
  expect_unread("large.zip", {"large.zip: a.png: has 3.0 GiB", "at most 512 MiB"});
  expect_unread("less.zip", {"less.zip: a.png: is damaged: its packed bytes are not 1000 bytes"});
  EXPECT_EQ(open_file_set(folder / "small.zip")->read(0).size(), std::size_t{1} << 20);
  const auto files = open_file_set(folder / "f");
  expect_error([&] { files->read(0); }, {"huge.png: has 3.0 GiB"});
}

TEST(FileSet, EveryTruncationAndFlippedByteIsReadOrRefused) {
  const Folder folder;
  run_python(folder, packed_files + R"(
short = {"a/1.png": b"one", "b.png": b"two" * 200}
pack_zip("a.zip", zipfile.ZIP_DEFLATED, short)
pack_tar("a.tar", tarfile.PAX_FORMAT, dict(short, **{"\u6587" * 40: b"three"}))
)");
  const auto read_all = [&](const std::string& bytes) {
    fs::remove(folder / "tried");  // some file systems flush what is written over
    write_bytes(folder / "tried", bytes);
    try {
      const auto files = open_file_set(folder / "tried");
      for (std::int64_t i = 0; i < files->count(); ++i) files->read(i);
    } catch (const Error& error) {
      EXPECT_FALSE(std::string(error.what()).empty());
    }
  };
  for (const char* name : {"a.zip", "a.tar"}) {
    const std::string whole = read_bytes(folder / name);
    for (std::size_t i = 0; i<whole.size(); i += whole.size()> 2000 ? 7 : 1) {
      read_all(whole.substr(0, i));
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ 0x5a);
      read_all(changed);
      changed[i] = '\xff';
      read_all(changed);
    }
  }
}

TEST(FileSet, ThreadsReadAtOnce) {
  const Folder folder;
  run_python(folder, R"(
import zipfile
with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for i in range(200): archive.writestr("%03d" % i, str(i) * 500)
)");
  const auto files = open_file_set(folder / "a.zip");
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 200; ++i) wrong[t] += text_of(*files, i) == repeated(std::to_string(i), 500) ? 0 : 1;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(FileSet, ManyNamesTakeLittleMemory) {
  const Folder folder;
  {
    std::ofstream file(folder / "many.tar", std::ios::binary);
    for (int i = 0; i < 100'000; ++i)
      file << tar_header_of(fmt::format("class-{:04}/image_{:08}.png", i * 7919LL % 1000, i));
    file << std::string(1024, '\0');
  }
  const auto resident = [] {
    std::ifstream status("/proc/self/statm");
    std::size_t all = 0, held = 0;
    status >> all >> held;
    return held * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  };
  const std::size_t before = resident();
  const auto files = open_file_set(folder / "many.tar");
  EXPECT_LT(resident() - before, std::size_t{30} << 20);
  ASSERT_EQ(files->count(), 100000);
  EXPECT_EQ(files->name(0), "class-0000/image_00000000.png");
  EXPECT_EQ(files->find("class-0081/image_00099999.png"), files->find(files->name(8199)));
  const std::vector<std::string> names = names_of(*files);
  EXPECT_TRUE(std::ranges::is_sorted(names));
}

TEST(FileSet, NamesAreShownOnOneLine) {
  EXPECT_EQ(shown_name("a\nb\x7f"), "a\\x0Ab\\x7F");
  EXPECT_EQ(shown_name("\xff"), "\\xFF");
  EXPECT_EQ(shown_name(std::string(300, 'a')), fmt::format("{}...", std::string(200, 'a')));
}

}  // namespace
}  // namespace couplet::testing
