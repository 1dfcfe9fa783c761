#include "storage/tables/row_shard.h"

#include "storage/files/hash.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/storage/storage_testing.h"
#include "tests/storage/tables/shard_samples.h"

#include <H5Cpp.h>

#include <algorithm>
#include <regex>
#include <thread>

namespace couplet::testing {
namespace {

const char* const python = "/usr/bin/python3";

TEST(RowShard, ReturnsWhatWasWritten) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const RowShard shard(folder / "a.h5", sample_format);
  EXPECT_EQ(shard.path(), folder / "a.h5");
  EXPECT_EQ(shard.header().format, sample_format);
  EXPECT_EQ(shard.header().format_version, 2);
  EXPECT_EQ(shard.header().first_row, 200);
  EXPECT_EQ(shard.header().rows, 100);
  EXPECT_EQ(shard.header().block_rows, 16);
  EXPECT_EQ(shard.header().provenance, sample_header().provenance);
  EXPECT_EQ(shard.summary(), (nlohmann::json{{"rows", 100}, {"sum", 0.125}}));
  EXPECT_EQ(shard.columns(), sample_columns());
  EXPECT_EQ(shard.column("label"), 2u);
  expect_sample_rows(folder / "a.h5");
}

TEST(RowShard, AnyPartOfAnyColumnIsRead) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const RowShard shard(folder / "a.h5", sample_format);
  int reads = 0;
  for (const std::size_t c : {std::size_t{0}, std::size_t{2}, std::size_t{5}}) {
    const Column& column = shard.columns()[c];
    for (const std::int64_t first : {0, 1, 15, 16, 17, 90, 95, 96, 99, 100}) {
      for (const std::int64_t count : {0, 1, 4, 10, 16, 17, 33, 83, 100}) {
        if (first + count > 100) continue;
        std::vector<std::byte> out(static_cast<std::size_t>(count) * column.row_bytes());
        shard.read(c, first, count, out);
        EXPECT_EQ(out, sample_rows(column, 200 + first, count)) << column.name << " " << first << " + " << count;
        ++reads;
      }
    }
  }
  EXPECT_GT(reads, 100);
}

/// 70 rows in blocks of 16: "wide" rows go straight to their places (more than one piece a block), others are moved.
const std::vector<Column> scatter_columns{{"wide", ElementType::uint8, {30'000}, ""},
                                          {"narrow", ElementType::int64, {2}, ""},
                                          {"huge", ElementType::float64, {50'000}, ""}};

void write_scatter_shard(const fs::path& path, int version = newest_shard_version) {
  ShardHeader header = sample_header(0, 70);
  header.format_version = version;
  RowShardWriter writer(path, header, scatter_columns);
  for (std::size_t c = 0; c < scatter_columns.size(); ++c) writer.write(c, 0, sample_rows(scatter_columns[c], 0, 70));
  writer.finish({});
}

/// Rows `count` from `first` on, every `step`-th.
std::vector<std::int64_t> row_numbers(std::int64_t first, std::int64_t count, std::int64_t step = 1) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(first + i * step);
  return numbers;
}

TEST(RowShard, RowsAreGatheredInTheirPlaces) {
  const Folder folder;
  for (const auto& [version, verify] :
       std::vector<std::pair<int, bool>>{{1, true}, {1, false}, {2, true}, {2, false}}) {
    write_scatter_shard(folder / "a.h5", version);
    const RowShard shard(folder / "a.h5", sample_format, verify);
    for (std::size_t c = 0; c < scatter_columns.size(); ++c) {
      const std::size_t row_bytes = scatter_columns[c].row_bytes();
      for (const auto& numbers :
           {row_numbers(0, 70), row_numbers(16, 16), row_numbers(5, 3), row_numbers(10, 50), row_numbers(64, 6),
            row_numbers(69, 1), row_numbers(70, 0), row_numbers(0, 35, 2), row_numbers(3, 7, 9)}) {
        // The last row first, with a gap of 8 bytes between rows that nothing may be written to.
        std::vector<std::byte> out(numbers.size() * (row_bytes + 8), std::byte{0x5a});
        std::vector<std::byte*> places;
        for (std::size_t i = numbers.size(); i-- > 0;) places.push_back(out.data() + i * (row_bytes + 8));
        shard.gather(c, numbers, places);
        for (std::size_t i = 0; i < numbers.size(); ++i) {
          EXPECT_EQ(std::vector<std::byte>(places[i], places[i] + row_bytes),
                    sample_rows(scatter_columns[c], numbers[i], 1));
          EXPECT_EQ(std::vector<std::byte>(places[i] + row_bytes, places[i] + row_bytes + 8),
                    std::vector<std::byte>(8, std::byte{0x5a}));
        }
      }
    }
    std::vector<std::byte*> beyond(2);
    expect_error([&] { shard.gather(0, row_numbers(69, 2), beyond); }, {"a.h5", "'wide'", "70 rows"});
    expect_error([&] { shard.gather(3, row_numbers(0, 2), beyond); }, {"no column number 3"});
  }
}

TEST(RowShard, DamageIsMetByEveryWayToReadUnlessAskedNotTo) {
  const Folder folder;
  for (const int version : {1, 2}) {
    write_scatter_shard(folder / "a.h5", version);
    std::string bytes = read_bytes(folder / "a.h5");
    for (std::size_t c = 0; c < scatter_columns.size(); ++c) {
      const std::uint64_t offset = RowShard(folder / "a.h5", sample_format).offset(c);
      bytes[offset + 20 * scatter_columns[c].row_bytes()] ^= 1;  // row 20, in the block of rows 16 to 31
    }
    write_bytes(folder / "a.h5", bytes);
    const RowShard checked(folder / "a.h5", sample_format), unchecked(folder / "a.h5", sample_format, /*verify=*/false);
    for (std::size_t c = 0; c < scatter_columns.size(); ++c) {
      const std::size_t row_bytes = scatter_columns[c].row_bytes();
      for (const auto& [first, count] :
           std::vector<std::pair<std::int64_t, std::int64_t>>{{16, 16}, {31, 1}, {19, 3}, {0, 70}}) {
        std::vector<std::byte> out(static_cast<std::size_t>(count) * row_bytes);
        std::vector<std::byte*> places;
        for (std::int64_t i = 0; i < count; ++i) places.push_back(out.data() + static_cast<std::size_t>(i) * row_bytes);
        const auto numbers = row_numbers(first, count);
        const auto written = sample_rows(scatter_columns[c], first, count);
        const bool holds_it = first <= 20 && 20 < first + count, whole_block = first <= 16 && 32 <= first + count;
        const std::string name = scatter_columns[c].name;
        if (version == 1 || holds_it) {
          // Of a shard without checksums of rows the whole block is suspect.
          const std::string rows = version == 1 || whole_block ? "rows 16 to 31" : "row 20";
          expect_error([&] { checked.read(c, first, count, out); }, {"a.h5", name, rows});
          expect_error([&] { checked.gather(c, numbers, places); }, {"a.h5", name, rows});
        } else {
          checked.read(c, first, count, out);
          EXPECT_EQ(out, written);
          std::ranges::fill(out, std::byte{0});
          checked.gather(c, numbers, places);
          EXPECT_EQ(out, written);
        }
        unchecked.read(c, first, count, out);
        EXPECT_EQ(out != written, holds_it);
        std::ranges::fill(out, std::byte{0});
        unchecked.gather(c, numbers, places);
        EXPECT_EQ(out != written, holds_it);
      }
    }
  }
}

TEST(RowShard, EqualRowsGiveEqualBytes) {
  const Folder folder;
  write_sample_shard(folder / "a.h5", sample_header(), 7);
  ::sleep(1);
  write_sample_shard(folder / "b.h5", sample_header(), 100);
  EXPECT_EQ(read_bytes(folder / "a.h5"), read_bytes(folder / "b.h5"));
  write_sample_shard(folder / "c.h5", sample_header(201), 100);
  EXPECT_NE(read_bytes(folder / "a.h5"), read_bytes(folder / "c.h5"));
}

TEST(RowShard, SeveralThreadsReadAtOnce) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const RowShard shard(folder / "a.h5", sample_format);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 200; ++round) {
        const std::size_t c = (t + static_cast<std::size_t>(round)) % shard.columns().size();
        wrong[t] += read_rows(shard, c, 1 + round % 40) != sample_rows(shard.columns()[c], 200, 100);
      }
    });
  }
  // Opening goes through HDF5 and may happen beside it.
  for (int i = 0; i < 20; ++i) expect_sample_rows(folder / "a.h5");
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(RowShard, LongProvenanceAndManyColumnsAreKept) {
  const Folder folder;
  std::vector<Column> columns;
  for (int i = 0; i < 40; ++i) columns.push_back({"column " + std::to_string(39 - i), ElementType::uint8, {}, ""});
  ShardHeader header = sample_header();
  header.rows = 3;
  header.provenance = {{"long", std::string(200'000, 'x')}, {"umlaut", "äöü σ"}, {"empty", ""}};
  RowShardWriter writer(folder / "a.h5", header, columns);
  const std::vector<std::byte> rows{std::byte{1}, std::byte{2}, std::byte{3}};
  for (std::size_t c = 0; c < columns.size(); ++c) writer.write(c, 0, rows);
  writer.finish(std::string(100'000, 'y'));
  const RowShard shard(folder / "a.h5", sample_format);
  EXPECT_EQ(shard.columns(), columns);
  EXPECT_EQ(shard.header().provenance, header.provenance);
  EXPECT_EQ(shard.summary(), std::string(100'000, 'y'));
  EXPECT_EQ(read_rows(shard, 39, 2), rows);
}

TEST(RowShard, WriterRefusesWhatIsNotInOrder) {
  const Folder folder;
  const auto columns = sample_columns();
  RowShardWriter writer(folder / "a.h5", sample_header(), columns);
  writer.write(2, 0, sample_rows(columns[2], 0, 10));
  expect_error([&] { writer.write(2, 11, sample_rows(columns[2], 0, 1)); }, {"a.h5", "label", "rows 11 to 12", "10"});
  expect_error([&] { writer.write(2, 0, sample_rows(columns[2], 0, 1)); }, {"label", "rows 0 to 1"});
  expect_error([&] { writer.write(2, 10, sample_rows(columns[2], 0, 91)); }, {"label", "100 in all"});
  expect_error([&] { writer.write(2, 10, std::vector<std::byte>(3)); }, {"3 bytes", "no whole rows of 4 bytes"});
  expect_error([&] { writer.write(17, 0, {}); }, {"no column number 17"});
  expect_error([&] { writer.finish({}); }, {"noise", "0 rows of 100"});
}

TEST(RowShard, WriterRefusesImpossibleShards) {
  const Folder folder;
  const auto make = [&](ShardHeader header, std::vector<Column> columns) {
    RowShardWriter(folder / "a.h5", std::move(header), std::move(columns));
  };
  expect_error([&] { make(sample_header(0, 0), sample_columns()); }, {"a.h5", "0 rows"});
  expect_error([&] { make(sample_header(), {}); }, {"at least one column"});
  expect_error(
      [&] {
        make(sample_header(), {{"a", ElementType::uint8, {}, ""}, {"a", ElementType::uint8, {}, ""}});
      },
      {"'a'", "unique"});
  for (const std::string name : {"", ".", "a/b", "checksums", "row_checksums"}) {
    expect_error([&] { make(sample_header(), {{name, ElementType::uint8, {}, ""}}); }, {"cannot name a column"});
  }
  expect_error([&] { make(sample_header(), {{"a", ElementType::uint8, {2, 0}, ""}}); }, {"row shape [2, 0]"});
  expect_error([&] { make(sample_header(), {{"a", ElementType::bfloat16, {}, ""}}); }, {"bfloat16"});
  ShardHeader newer = sample_header();
  newer.format_version = 3;
  expect_error([&] { make(newer, sample_columns()); }, {"version 3", "version 2"});
  expect_error([&] { RowShardWriter(folder / "no/a.h5", sample_header(), sample_columns()); },
               {"no/a.h5", "No such file or directory"});
}

TEST(RowShard, WrongRequestsAreErrors) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const RowShard shard(folder / "a.h5", sample_format);
  std::vector<std::byte> out(4);
  expect_error([&] { shard.column("labels"); }, {"a.h5", "'labels'", "noise, image, label"});
  expect_error([&] { shard.read(2, 100, 1, out); }, {"a.h5", "label", "100 rows"});
  expect_error([&] { shard.read(2, -1, 1, out); }, {"label"});
  expect_error([&] { shard.read(2, 0, 2, out); }, {"2 rows", "4 bytes"});
  expect_error([&] { shard.read(9, 0, 1, out); }, {"no column number 9"});
  expect_error([&] { RowShard(folder / "a.h5", "couplet-dataset"); }, {"couplet-coupling", "couplet-dataset"});
  expect_error([&] { RowShard(folder / "b.h5", sample_format); }, {"b.h5", "No such file"});
  EXPECT_EQ(RowShard(folder / "a.h5", "").header().format, sample_format);
}

/// The setting is read when the HDF5 library starts: in a process of its own.
TEST(RowShard, WorksUnderEveryLockSetting) {
  const std::string self = fs::read_symlink("/proc/self/exe").string();
  for (const std::string setting : {"TRUE", "FALSE", "BEST_EFFORT"}) {
    const auto result = run_command("HDF5_USE_FILE_LOCKING=" + setting + " " + self +
                                    " --gtest_filter='RowShard.ReturnsWhatWasWritten:RowTable.Reads*'");
    EXPECT_EQ(result.status, 0) << setting << ": " << result.output;
    EXPECT_NE(result.output.find("[  PASSED  ] 2 tests"), std::string::npos) << result.output;
  }
}

TEST(RowShard, Hdf5ToolsReadIt) {
  if (!have_command("h5ls --version") || !have_command("h5dump --version")) GTEST_SKIP() << "no HDF5 tools here";
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const auto list = run_command("h5ls -rv " + (folder / "a.h5").string());
  EXPECT_EQ(list.status, 0) << list.output;
  EXPECT_NE(list.output.find("/noise                   Dataset {100/100, 3/3, 4/4, 4/4}"), std::string::npos)
      << list.output;
  const auto dump = run_command("h5dump -H " + (folder / "a.h5").string());
  EXPECT_EQ(dump.status, 0) << dump.output;
  EXPECT_NE(dump.output.find("ATTRIBUTE \"provenance\""), std::string::npos) << dump.output;
  const auto values = run_command("h5dump -d /label -s 98 -c 2 " + (folder / "a.h5").string());
  EXPECT_NE(values.output.find("78, 85"), std::string::npos) << values.output;  // 298 * 7 % 251 = 78
}

/// The shard is read and checked by a program that shares no code with ours.
TEST(RowShard, H5pyReadsEqualValues) {
  if (!have_command(std::string(python) + " -c 'import h5py'")) GTEST_SKIP() << "no h5py here";
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  write_bytes(folder / "check.py", R"(
import json, sys
import h5py, numpy as np
f = h5py.File(sys.argv[1], "r")
want = {"noise": ("<f2", (3, 4, 4)), "image": ("u1", (3, 4, 4)), "label": ("<i4", ()), "sample": ("<i8", ()),
        "nll": ("<f4", ()), "error": ("<f8", (2,))}
assert sorted(f) == sorted([*want, "checksums", "row_checksums"]), list(f)
for name, (dtype, shape) in want.items():
    d = f[name]
    assert d.dtype == np.dtype(dtype) and d.shape == (100, *shape), (name, d.dtype, d.shape)
    n = int(np.prod(shape))
    expected = (np.arange(200 * n, 300 * n) * 7 % 251).astype(dtype).reshape(d.shape)
    assert (d[...] == expected).all(), name
    assert d.attrs["meaning"] and d.chunks is None and d.compression is None
    assert f["checksums"][name].shape == (7,) and f["checksums"][name].dtype == np.uint64
    assert f["row_checksums"][name].shape == (100,) and f["row_checksums"][name].dtype == np.uint64
assert f.attrs["format"] == b"couplet-coupling" and f.attrs["format_version"] == 2
assert (f.attrs["first_row"], f.attrs["rows"], f.attrs["block_rows"]) == (200, 100, 16)
assert json.loads(f.attrs["provenance"]) == {"teacher": {"hash": "abc", "step": 1000}, "eta": 0.05}
assert json.loads(f.attrs["summary"]) == {"rows": 100, "sum": 0.125}
with open(sys.argv[1], "rb") as raw:  # checksums cover the bytes that h5py says are the rows
    raw.seek(f["label"].id.get_offset())
    assert raw.read(400) == f["label"][...].tobytes()
print("checksums", f["checksums/label"][6], f["row_checksums/label"][99])
)");
  const auto result =
      run_command(std::string(python) + " " + (folder / "check.py").string() + " " + (folder / "a.h5").string());
  EXPECT_EQ(result.status, 0) << result.output;
  const auto last_block = hash64(sample_rows(sample_columns()[2], 296, 4));
  const auto last_row = hash64(sample_rows(sample_columns()[2], 299, 1));
  EXPECT_EQ(result.output, "checksums " + std::to_string(last_block) + " " + std::to_string(last_row) + "\n");
}

/// The reader printed in the specification is run as it stands there.
TEST(RowShard, ReaderInTheSpecificationWorks) {
  if (!have_command(std::string(python) + " -c 'import h5py'")) GTEST_SKIP() << "no h5py here";
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const std::string page = read_bytes(fs::path(COUPLET_SOURCE_DIR) / "docs/row-shards.md");
  const auto begin = page.find("```python\n");
  const auto end = page.find("```", begin + 10);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  write_bytes(folder / "reader.py", page.substr(begin + 10, end - begin - 10));
  const auto result =
      run_command(std::string(python) + " " + (folder / "reader.py").string() + " " + (folder / "a.h5").string());
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_NE(result.output.find("couplet-coupling rows 200 to 299"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find("noise float16 (100, 3, 4, 4)"), std::string::npos) << result.output;
}

}  // namespace
}  // namespace couplet::testing
