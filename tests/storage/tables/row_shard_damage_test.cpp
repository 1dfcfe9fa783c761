// What a reader says about damaged, foreign and newer shards, and what a killed or starved writer leaves.
#include "storage/files/atomic_file.h"
#include "storage/files/hash.h"
#include "storage/tables/row_shard_writer.h"
#include "tests/storage/storage_testing.h"
#include "tests/storage/tables/shard_samples.h"

#include <H5Cpp.h>

#include <functional>
#include <limits>
#include <random>

namespace couplet::testing {
namespace {

void remove_attribute(H5::H5Object& object, const char* name) {
  if (object.attrExists(name)) object.removeAttr(name);
}

void put_integer(H5::H5File& file, const char* name, std::int64_t value) {
  H5::Group root = file.openGroup("/");
  remove_attribute(root, name);
  root.createAttribute(name, H5::PredType::STD_I64LE, H5::DataSpace(H5S_SCALAR))
      .write(H5::PredType::NATIVE_INT64, &value);
}

void put_text(H5::H5File& file, const std::string& name, const std::string& text) {
  H5::Group root = file.openGroup("/");
  remove_attribute(root, name.c_str());
  const H5::StrType type(H5::PredType::C_S1, text.size());
  root.createAttribute(name, type, H5::DataSpace(H5S_SCALAR)).write(type, text.c_str());
}

void put_guarded_text(H5::H5File& file, const std::string& name, const std::string& text) {
  put_text(file, name, text);
  put_text(file, name + "_hash", hash_text(text));
}

void put_data_set(H5::H5File& file, const char* name, const H5::DataType& type, std::vector<hsize_t> extents,
                  const H5::DSetCreatPropList& creation = H5::DSetCreatPropList::DEFAULT) {
  file.unlink(name);
  auto set = file.createDataSet(name, type, H5::DataSpace(static_cast<int>(extents.size()), extents.data()), creation);
  H5::StrType text(H5::PredType::C_S1, 1);
  set.createAttribute("meaning", text, H5::DataSpace(H5S_SCALAR)).write(text, "x");
}

/// A sample shard changed through HDF5 itself, so that its metadata is sound.
fs::path changed_shard(const Folder& folder, const std::function<void(H5::H5File&)>& change) {
  const fs::path path = folder / "a.h5";
  write_sample_shard(path);
  H5::FileAccPropList access;
  access.setLibverBounds(H5F_LIBVER_V18, H5F_LIBVER_V18);
  H5::H5File file(path.string(), H5F_ACC_RDWR, H5::FileCreatPropList::DEFAULT, access);
  change(file);
  return path;
}

void expect_refused(const std::function<void(H5::H5File&)>& change, const std::vector<std::string>& parts) {
  const Folder folder;
  const fs::path path = changed_shard(folder, change);
  expect_error([&] { RowShard(path, sample_format); }, parts);
}

TEST(RowShardDamage, ForeignFilesAreNamed) {
  const Folder folder;
  write_bytes(folder / "empty.h5", "");
  expect_error([&] { RowShard(folder / "empty.h5", sample_format); }, {"empty.h5", "truncated"});
  write_bytes(folder / "text.h5", std::string(5000, 'a'));
  expect_error([&] { RowShard(folder / "text.h5", sample_format); }, {"text.h5", "no HDF5 file"});
  { H5::H5File((folder / "old.h5").string(), H5F_ACC_TRUNC); }
  expect_error([&] { RowShard(folder / "old.h5", sample_format); }, {"old.h5", "did not write"});
  H5::FileAccPropList access;
  access.setLibverBounds(H5F_LIBVER_V18, H5F_LIBVER_V18);
  { H5::H5File((folder / "bare.h5").string(), H5F_ACC_TRUNC, H5::FileCreatPropList::DEFAULT, access); }
  expect_error([&] { RowShard(folder / "bare.h5", sample_format); }, {"bare.h5", "no attribute 'format'"});
  expect_error([&] { RowShard(folder.path(), sample_format); }, {"not a regular file"});
}

TEST(RowShardDamage, NewerVersionIsRefusedNamingBoth) {
  expect_refused([](H5::H5File& file) { put_integer(file, "format_version", 3); },
                 {"format version 3", "up to version 2", "newer Couplet"});
}

TEST(RowShardDamage, ImpossibleMetadataIsRefused) {
  expect_refused([](H5::H5File& file) { put_integer(file, "rows", 99); }, {"noise", "[100, 3, 4, 4]", "99 rows"});
  expect_refused([](H5::H5File& file) { put_integer(file, "rows", -1); }, {"-1 rows"});
  expect_refused([](H5::H5File& file) { put_integer(file, "block_rows", 0); }, {"blocks of 0"});
  expect_refused([](H5::H5File& file) { put_integer(file, "block_rows", 8); }, {"checksums/noise", "[7]", "[13]"});
  expect_refused([](H5::H5File& file) { put_integer(file, "block_rows", std::numeric_limits<std::int64_t>::max()); },
                 {"checksums/noise", "[7]", "[1]"});
  expect_refused([](H5::H5File& file) { put_integer(file, "summary", 1); }, {"'summary'", "no text"});
  expect_refused([](H5::H5File& file) { file.openGroup("/").removeAttr("summary"); }, {"'summary'", "unfinished"});
  expect_refused([](H5::H5File& file) { file.unlink("checksums"); }, {"checksums"});
  expect_refused([](H5::H5File& file) { file.createGroup("folder"); }, {"'folder'", "no data set"});
  expect_refused([](H5::H5File& file) { file.link(H5L_TYPE_SOFT, "/label", "other"); }, {"'other'", "link"});
}

/// Texts whose hashes are right, so that only what they say can be wrong.
TEST(RowShardDamage, ProvenanceThatIsNoUsableJsonIsRefused) {
  expect_refused([](H5::H5File& file) { put_guarded_text(file, "provenance", "{"); },
                 {"a.h5", "'provenance'", "no JSON"});
  expect_refused([](H5::H5File& file) { put_guarded_text(file, "provenance", std::string(200'000, '[')); },
                 {"a.h5", "'provenance'", "more than 31 levels"});
}

TEST(RowShardDamage, WhatReadersRefuseIsNotWritten) {
  const Folder folder;
  ShardHeader header = sample_header();
  header.provenance = nlohmann::json::array();
  for (int level = 1; level <= deepest_attribute; ++level) header.provenance = {{"a", header.provenance}};
  expect_error([&] { write_sample_shard(folder / "a.h5", header); }, {"a.h5", "provenance", "more than 31 levels"});
  header.provenance = {{"a", "\xff"}};
  expect_error([&] { write_sample_shard(folder / "b.h5", header); }, {"b.h5", "provenance", "no UTF-8"});
}

TEST(RowShardDamage, WrongTypeShapeAndLayoutAreRefused) {
  const auto& int32 = H5::PredType::STD_I32LE;
  expect_refused([&](H5::H5File& file) { put_data_set(file, "label", H5::PredType::STD_I32BE, {100}); },
                 {"'label'", "element type"});
  expect_refused([&](H5::H5File& file) { put_data_set(file, "label", H5::PredType::STD_U16LE, {100}); },
                 {"'label'", "element type"});
  expect_refused([&](H5::H5File& file) { put_data_set(file, "label", int32, {101}); }, {"'label'", "[101]", "100"});
  H5::DSetCreatPropList chunked;
  const hsize_t chunk = 10;
  chunked.setChunk(1, &chunk);
  expect_refused([&](H5::H5File& file) { put_data_set(file, "label", int32, {100}, chunked); },
                 {"'label'", "chunked", "contiguous"});
  H5::DSetCreatPropList late;
  late.setAllocTime(H5D_ALLOC_TIME_LATE);
  expect_refused([&](H5::H5File& file) { put_data_set(file, "label", int32, {100}, late); },
                 {"'label'", "does not lie inside the file"});
  const hsize_t huge = hsize_t{1} << 62;
  expect_refused([&](H5::H5File& file) { put_data_set(file, "label", int32, {100, huge}, late); }, {"'label'"});
}

TEST(RowShardDamage, TruncationsAreDetected) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const std::string whole = read_bytes(folder / "a.h5");
  std::mt19937_64 random(1);
  int tried = 0;
  for (int i = 0; i < 40; ++i) {
    const std::size_t size = i == 0 ? whole.size() - 1 : random() % whole.size();
    write_bytes(folder / "b.h5", whole.substr(0, size));
    expect_error([&] { RowShard(folder / "b.h5", sample_format); }, {"b.h5", "truncated"});
    ++tried;
  }
  EXPECT_EQ(tried, 40);
  write_bytes(folder / "b.h5", whole + "x");
  expect_error([&] { RowShard(folder / "b.h5", sample_format); }, {"b.h5", "trailing"});
  write_bytes(folder / "b.h5", whole);
  RowShard shard(folder / "b.h5", sample_format);
  fs::resize_file(folder / "b.h5", 3000);
  expect_error([&] { read_rows(shard, 0, 100); }, {"b.h5", "truncated"});
}

/// Flips one bit of a sample shard; true if a reader notices. A value that changes unnoticed fails the test.
bool flip_is_noticed(const Folder& folder, std::string bytes, std::size_t position, int bit) {
  bytes[position] = static_cast<char>(bytes[position] ^ (1 << bit));
  const fs::path path = folder / "flipped.h5";
  write_bytes(path, bytes);
  try {
    const RowShard shard(path, sample_format);
    EXPECT_EQ(shard.columns(), sample_columns()) << position;
    EXPECT_EQ(shard.header().rows, 100) << position;
    EXPECT_EQ(shard.header().provenance, sample_header().provenance) << position;
    EXPECT_EQ(shard.summary().dump(), R"({"rows":100,"sum":0.125})") << position;
    for (std::size_t c = 0; c < shard.columns().size(); ++c) {
      EXPECT_EQ(read_rows(shard, c, 100), sample_rows(shard.columns()[c], 200, 100)) << "byte " << position;
    }
    return false;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("flipped.h5"), std::string::npos) << error.what();
    return true;
  }
}

std::size_t open_files() {
  const fs::directory_iterator descriptors("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(descriptors), end(descriptors)));
}

TEST(RowShardDamage, NoFlippedBitChangesAValueUnnoticed) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  const std::string whole = read_bytes(folder / "a.h5");
  std::mt19937_64 random(2);
  int noticed = 0, tried = 0;
  const std::size_t open_before = open_files();
  const auto flip = [&](std::size_t position) {
    noticed += flip_is_noticed(folder, whole, position, static_cast<int>(random() % 8));
    ++tried;
  };
  for (int i = 0; i < 64; ++i) flip(random() % whole.size());
  for (std::size_t position = 0; position < 1024; position += 3) flip(position);  // metadata stands first
  for (std::size_t back = 1; back < 1024; back += 3) flip(whole.size() - back);
  EXPECT_GT(tried, 700);
  EXPECT_GT(noticed, tried / 2);
  EXPECT_EQ(open_files(), open_before);
}

/// HDF5 keeps long attributes outside its checksummed metadata.
TEST(RowShardDamage, FlippedBitsInLongProvenanceAreNoticed) {
  const Folder folder;
  ShardHeader header = sample_header();
  header.provenance["long"] = std::string(70'000, 'x');
  write_sample_shard(folder / "a.h5", header, 100);
  const std::string whole = read_bytes(folder / "a.h5");
  const std::size_t text = whole.find(std::string(1000, 'x'));
  ASSERT_NE(text, std::string::npos);
  std::mt19937_64 random(4);
  for (int i = 0; i < 50; ++i) {
    std::string bytes = whole;
    char& byte = bytes[text + random() % 70'000];
    byte = static_cast<char>(byte ^ (1 << random() % 8));
    write_bytes(folder / "b.h5", bytes);
    expect_error([&] { RowShard(folder / "b.h5", sample_format); }, {"b.h5", "'provenance'", "damaged"});
  }
}

TEST(RowShardDamage, DamagedRowsAreNamedAndOthersStillRead) {
  const Folder folder;
  write_sample_shard(folder / "a.h5");
  std::string bytes = read_bytes(folder / "a.h5");
  haddr_t offset = 0;
  {
    const H5::H5File file((folder / "a.h5").string(), H5F_ACC_RDONLY);
    offset = file.openDataSet("label").getOffset();
  }
  bytes[offset + 4 * 50] ^= 1;
  write_bytes(folder / "a.h5", bytes);
  const RowShard shard(folder / "a.h5", sample_format);
  std::vector<std::byte> out(4 * 16);
  expect_error([&] { shard.read(2, 48, 16, out); }, {"a.h5", "'label'", "rows 48 to 63"});
  expect_error([&] { shard.read(2, 50, 1, std::span(out).first(4)); }, {"'label'", "row 50"});
  shard.read(2, 60, 1, std::span(out).first(4));
  shard.read(2, 32, 16, out);
  EXPECT_EQ(out, sample_rows(shard.columns()[2], 232, 16));
}

TEST(RowShardDamage, UnfinishedShardIsRefused) {
  const Folder folder;
  { RowShardWriter writer(folder / "a.h5", sample_header(), sample_columns()); }
  expect_error([&] { RowShard(folder / "a.h5", sample_format); }, {"a.h5", "no HDF5 file", "did not finish"});
}

void publish_sample(const fs::path& path, std::int64_t first_row) {
  Pending pending(path);
  write_sample_shard(pending.path(), sample_header(first_row), 100);
  pending.commit();
}

TEST(RowShardDamage, KilledPublishersLeaveWholeShards) {
  const Folder folder;
  publish_sample(folder / "a.h5", 0);
  std::mt19937_64 random(3);
  int checked = 0;
  for (int i = 0; i < 30; ++i) {
    std::int64_t first_row = 0;
    kill_in_midst([&] { publish_sample(folder / "a.h5", ++first_row); }, static_cast<unsigned>(random() % 20'000));
    expect_sample_rows(folder / "a.h5");
    ++checked;
  }
  EXPECT_EQ(checked, 30);
  remove_leftovers(folder.path());
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a.h5"});
}

/// Writes fail at sizes that hit the layout, the rows and the summary; the old shard stays.
TEST(RowShardDamage, FullDiskLeavesTheOldShard) {
  const Folder folder, messages;
  publish_sample(folder / "a.h5", 0);
  const std::string before = read_bytes(folder / "a.h5");
  for (const std::size_t size : {std::size_t{0}, std::size_t{1000}, std::size_t{4000}, before.size() - 1}) {
    for (const bool late : {false, true}) {
      const int status = run_in_child(messages / "message", [&] {
        const auto columns = sample_columns();
        if (!late) limit_file_size(size);
        Pending pending(folder / "a.h5");
        RowShardWriter writer(pending.path(), sample_header(7), columns);
        if (late) limit_file_size(size);
        for (std::size_t c = 0; c < columns.size(); ++c) writer.write(c, 0, sample_rows(columns[c], 7, 100));
        writer.finish({{"rows", 100}});
        pending.commit();
      });
      ASSERT_TRUE(WIFEXITED(status)) << "size " << size << " late " << late << " signal " << WTERMSIG(status);
      EXPECT_EQ(WEXITSTATUS(status), 99) << "size " << size << " late " << late;
      const std::string message = read_bytes(messages / "message");
      EXPECT_NE(message.find("a.h5"), std::string::npos) << message;
      EXPECT_NE(message.find("File too large"), std::string::npos) << message;
      EXPECT_EQ(read_bytes(folder / "a.h5"), before);
      EXPECT_EQ(folder.names(), std::vector<std::string>{"a.h5"});
    }
  }
}

}  // namespace
}  // namespace couplet::testing
