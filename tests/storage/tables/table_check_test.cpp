// Damage of every kind to a finished table: the check names the right shard, and readers never return a wrong value.
#include "storage/tables/table_check.h"
#include "storage/tables/filenames.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/tables/row_table.h"
#include "storage/tables/shard_scan.h"
#include "tests/storage/storage_testing.h"
#include "tests/storage/tables/shard_samples.h"

#include <H5Cpp.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

namespace couplet::testing {
namespace {

constexpr std::int64_t shards = 4;
constexpr ShardPlan plan{340, 100};

/// A finished table of 340 rows in four shards.
void write_table(const fs::path& directory) {
  fs::create_directories(directory);
  for (std::int64_t index = 0; index < shards; ++index)
    write_sample_shard(directory / shard_name(index, shards),
                       sample_header(plan.first_row(index), plan.rows_of(index)));
  publish_manifest(directory, plan, sample_format, nlohmann::json::object());
}

std::vector<Problem> check_table(const fs::path& directory, bool quick = false) {
  const TableSurvey survey = survey_table(directory);
  std::vector<Problem> problems = survey.problems;
  for (std::int64_t index = 0; index < survey.shards; ++index)
    for (Problem& problem : check_shard(survey, index, quick, {})) problems.push_back(std::move(problem));
  return problems;
}

std::set<std::string> files_of(const std::vector<Problem>& problems) {
  std::set<std::string> files;
  for (const Problem& problem : problems) files.insert(problem.file);
  return files;
}

std::string text_of(const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& problem : problems) text += problem.file + ": " + problem.what + "\n";
  return text;
}

/// Reads the whole table: either an error, or exactly the rows that were written.
void expect_never_wrong(const fs::path& directory) {
  try {
    const RowTable table(directory, sample_format);
    for (std::size_t column = 0; column < table.columns().size(); ++column) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(plan.rows) * table.columns()[column].row_bytes());
      const auto written = sample_rows(table.columns()[column], 0, plan.rows);
      table.read(column, 0, plan.rows, bytes);
      EXPECT_EQ(bytes, written) << "a wrong value was read";
      std::vector<std::byte*> places;
      const std::size_t row_bytes = table.columns()[column].row_bytes();
      for (std::size_t row = 0; row < bytes.size() / row_bytes; ++row) places.push_back(bytes.data() + row * row_bytes);
      std::ranges::fill(bytes, std::byte{0});
      std::vector<std::int64_t> numbers(places.size());
      std::iota(numbers.begin(), numbers.end(), 0);
      table.gather(column, numbers, places);
      EXPECT_EQ(bytes, written) << "a wrong value was gathered";
    }
  } catch (const Error&) {
  }
}

/// Changes one shard, expects that file and no other to be named and nothing wrong to be read, and puts it back.
void expect_named(const fs::path& directory, std::int64_t index, const std::function<void(std::string&)>& change) {
  const fs::path path = directory / shard_name(index, shards);
  const std::string sound = read_bytes(path);
  std::string damaged = sound;
  change(damaged);
  write_bytes(path, damaged);
  const auto problems = check_table(directory);
  EXPECT_EQ(files_of(problems), std::set<std::string>{path.filename().string()}) << text_of(problems);
  expect_never_wrong(directory);
  write_bytes(path, sound);
}

TEST(TableCheck, ASoundTableHasNoProblems) {
  const Folder folder;
  write_table(folder / "t");
  EXPECT_EQ(text_of(check_table(folder / "t")), "");
  EXPECT_EQ(text_of(check_table(folder / "t", /*quick=*/true)), "");
  EXPECT_EQ(text_of(check_file(folder / "t" / shard_name(2, shards), false, {})), "");
  const RowShard shard(folder / "t" / shard_name(2, shards), sample_format);
  EXPECT_EQ(scan_shard(shard).content_hash, content_hash(shard));
}

TEST(TableCheck, SingleBitFlipsAnywhere) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    expect_named(directory, i % shards, [&](std::string& bytes) {
      const std::uint64_t bit = random() % (bytes.size() * 8);
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    });
    if (HasFailure()) FAIL() << "flip number " << i;
  }
}

TEST(TableCheck, SingleBitFlipsInMetadata) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  // Bytes that belong to no column and to no checksum.
  std::vector<std::uint64_t> metadata;
  {
    const RowShard shard(directory / shard_name(1, shards), sample_format);
    std::set<std::uint64_t> data;
    for (std::size_t column = 0; column < shard.columns().size(); ++column) {
      const std::uint64_t bytes = 100 * shard.columns()[column].row_bytes();
      for (std::uint64_t i = 0; i < bytes; ++i) data.insert(shard.offset(column) + i);
      const H5::H5File file(shard.path().string(), H5F_ACC_RDONLY);
      const H5::DataSet checksums = file.openDataSet("checksums/" + shard.columns()[column].name);
      for (std::uint64_t i = 0; i < checksums.getStorageSize(); ++i) data.insert(checksums.getOffset() + i);
    }
    ASSERT_LT(data.size(), shard.file().size());
    for (std::uint64_t i = 0; i < shard.file().size(); ++i)
      if (!data.contains(i)) metadata.push_back(i);
  }
  std::mt19937_64 random(11);
  for (int i = 0; i < 60; ++i) {
    expect_named(directory, 1, [&](std::string& bytes) {
      const std::uint64_t at = metadata[random() % metadata.size()];
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
    });
    if (HasFailure()) FAIL() << "flip number " << i;
  }
}

TEST(TableCheck, Truncations) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  std::mt19937_64 random(13);
  for (int i = 0; i < 20; ++i)
    expect_named(directory, i % shards, [&](std::string& bytes) { bytes.resize(random() % bytes.size()); });
  expect_named(directory, 0, [](std::string& bytes) { bytes.clear(); });
}

/// A row's checksum is no part of any block; it is compared with the row.
TEST(TableCheck, ADamagedChecksumOfARowIsFound) {
  const Folder folder;
  write_table(folder / "t");
  const fs::path path = folder / "t" / shard_name(1, shards);
  std::string bytes = read_bytes(path);
  const RowShard shard(path, sample_format);
  const std::uint64_t sum = shard.row_checksums(0, 20, 1).at(0);
  const std::size_t at = bytes.find(std::string_view(reinterpret_cast<const char*>(&sum), sizeof sum));
  ASSERT_NE(at, std::string::npos);
  bytes[at] ^= 1;
  write_bytes(path, bytes);
  const auto problems = check_table(folder / "t");
  ASSERT_EQ(problems.size(), 1U) << text_of(problems);
  EXPECT_NE(problems[0].what.find("row 20 "), std::string::npos) << problems[0].what;
  std::vector<std::byte> out(shard.columns()[0].row_bytes());
  expect_error([&] { RowShard(path, sample_format).read(0, 20, 1, out); }, {"row 20"});
  RowShard(path, sample_format).read(0, 21, 1, out);
}

TEST(TableCheck, ADeletedShardIsAHole) {
  const Folder folder;
  write_table(folder / "t");
  fs::remove(folder / "t" / shard_name(2, shards));
  const auto problems = check_table(folder / "t");
  ASSERT_EQ(problems.size(), 1U) << text_of(problems);
  EXPECT_EQ(problems[0].file, shard_name(2, shards));
  EXPECT_NE(problems[0].what.find("rows 200 to 299"), std::string::npos) << problems[0].what;
  expect_error([&] { RowTable(folder / "t", sample_format).shard(2); }, {shard_name(2, shards), "missing"});
}

TEST(TableCheck, SwappedShardsAreBothNamed) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  fs::rename(directory / shard_name(0, shards), directory / "x");
  fs::rename(directory / shard_name(1, shards), directory / shard_name(0, shards));
  fs::rename(directory / "x", directory / shard_name(1, shards));
  const std::set<std::string> expected{shard_name(0, shards), shard_name(1, shards)};
  EXPECT_EQ(files_of(check_table(directory)), expected);
  EXPECT_EQ(files_of(check_table(directory, /*quick=*/true)), expected);
  expect_never_wrong(directory);
}

TEST(TableCheck, ForeignShardsAreNamed) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  ShardHeader header = sample_header(plan.first_row(3), plan.rows_of(3));
  header.provenance["teacher"] = "another one";
  write_sample_shard(directory / shard_name(3, shards), header);
  write_sample_shard(directory / shard_name(1, 9));
  write_bytes(directory / "stray.h5", "x");
  const auto problems = check_table(directory);
  EXPECT_EQ(files_of(problems), (std::set<std::string>{shard_name(3, shards), shard_name(1, 9), "stray.h5"}));
  EXPECT_NE(text_of(problems).find("another one"), std::string::npos) << text_of(problems);
  expect_error([&] { RowTable(directory, sample_format).shard(3); }, {shard_name(3, shards), "another one"});
}

TEST(TableCheck, AStaleManifestNamesTheShardThatChanged) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  // Sound in itself, of the same place and provenance, with another summary.
  const fs::path path = directory / shard_name(1, shards);
  {
    RowShardWriter writer(path, sample_header(plan.first_row(1), plan.rows_of(1)), sample_columns());
    for (std::size_t column = 0; column < sample_columns().size(); ++column)
      writer.write(column, 0, sample_rows(sample_columns()[column], plan.first_row(1), plan.rows_of(1)));
    writer.finish({{"written", "again"}});
  }
  EXPECT_EQ(files_of(check_table(directory)), std::set<std::string>{shard_name(1, shards)});
  expect_never_wrong(directory);
}

TEST(TableCheck, FilesThatAreNoShardAtAllAreNamed) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  expect_named(directory, 0, [](std::string& bytes) { bytes.clear(); });
  expect_named(directory, 1, [](std::string& bytes) { bytes.assign(5000, 'a'); });
  // HDF5 of somebody else.
  const fs::path other = folder / "other.h5";
  { H5::H5File(other.string(), H5F_ACC_TRUNC).createGroup("0"); }
  expect_named(directory, 2, [&](std::string& bytes) { bytes = read_bytes(other); });
}

TEST(TableCheck, WithoutAManifestShardsAreHeldAgainstEachOther) {
  const Folder folder;
  const fs::path directory = folder / "t";
  write_table(directory);
  fs::remove(directory / manifest_name);
  EXPECT_EQ(files_of(check_table(directory)), std::set<std::string>{manifest_name});
  ShardHeader header = sample_header(plan.first_row(2), plan.rows_of(2));
  header.provenance["teacher"] = "another one";
  write_sample_shard(directory / shard_name(2, shards), header);
  EXPECT_EQ(files_of(check_table(directory)), (std::set<std::string>{manifest_name, shard_name(2, shards)}));
}

TEST(TableCheck, ADamagedManifestIsNamed) {
  const Folder folder;
  const fs::path path = folder / "t" / manifest_name;
  write_table(folder / "t");
  std::string text = read_bytes(path);
  text[text.find("340")] = '2';
  write_bytes(path, text);
  EXPECT_EQ(files_of(check_table(folder / "t")), std::set<std::string>{manifest_name});
  fs::create_directory(folder / "none");
  expect_error([&] { survey_table(folder / "none"); }, {"none", "holds no table"});
}

TEST(TableCheck, RowsThatAreNotFiniteAreNamed) {
  const Folder folder;
  const fs::path path = folder / "a.h5";
  const std::vector<Column> columns{{"half", ElementType::float16, {3}, ""}, {"single", ElementType::float32, {}, ""}};
  for (const std::int64_t owned_up : {0, 3}) {
    RowShardWriter writer(path, sample_header(0, 100), columns);
    std::vector<std::uint16_t> half(300, 0x3c00);  // 1
    half[3 * 41 + 2] = 0x7c00;                     // infinity
    half[3 * 42] = 0xfe01;                         // NaN
    std::vector<float> single(100, -1.5F);
    single[99] = std::numeric_limits<float>::quiet_NaN();
    writer.write(0, 0, std::as_bytes(std::span(half)));
    writer.write(1, 0, std::as_bytes(std::span(single)));
    writer.finish({{"nonfinite_rows", owned_up}});
    const std::string text = text_of(check_file(path, false, {}));
    if (owned_up == 3) {
      EXPECT_EQ(text, "") << "the writer counted them and was allowed to keep them";
      continue;
    }
    EXPECT_NE(text.find("'half' holds NaN or infinite values in rows 41 to 42"), std::string::npos) << text;
    EXPECT_NE(text.find("'single' holds NaN or infinite values in row 99"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace couplet::testing
