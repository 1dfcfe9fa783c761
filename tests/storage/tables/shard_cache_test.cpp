// Tables read through a local cache of their shards.
#include "storage/tables/shard_cache.h"

#include "storage/tables/filenames.h"
#include "storage/tables/row_table.h"
#include "storage/tables/shard_scan.h"
#include "tests/storage/storage_testing.h"
#include "tests/storage/tables/shard_samples.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <thread>

namespace couplet::testing {
namespace {

const ShardPlan plan{250, 100};

/// A finished table of 250 rows in three shards; tables of other `eta` have other bytes.
void write_table(const fs::path& directory, double eta = 0.05) {
  fs::create_directories(directory);
  for (std::int64_t i = 0; i < plan.shards(); ++i) {
    ShardHeader header = sample_header(plan.first_row(i), plan.rows_of(i));
    header.provenance["eta"] = eta;
    write_sample_shard(directory / shard_name(i, plan.shards()), header);
  }
  publish_manifest(directory, plan, sample_format, {});
}

/// Of all files but a cache's lock.
std::uint64_t bytes_in(const fs::path& directory) {
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().filename() != ".lock") bytes += entry.file_size();
  return bytes;
}

/// The content hashes that a table's manifest lists, as names of copies.
std::set<std::string> copies_of(const fs::path& directory) {
  std::set<std::string> names;
  const auto manifest = nlohmann::json::parse(read_bytes(directory / "manifest.json"));
  for (const auto& entry : manifest.at("shards")) names.insert(entry.at("hash").get<std::string>() + ".h5");
  return names;
}

/// Names in the cache but for its lock.
std::set<std::string> names_in(const fs::path& cache) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(cache))
    if (entry.path().filename() != ".lock") names.insert(entry.path().filename().string());
  return names;
}

struct Opened {
  std::vector<std::string> notes;
  std::int64_t from_cache = 0;  ///< shards
};

/// Opens a table through a cache and compares every row with what was written.
Opened open_and_check(const fs::path& directory, const fs::path& cache, std::uint64_t bytes = 1 << 30,
                      bool verify = true) {
  Opened opened;
  const ReadOptions options{verify, cache, bytes, [&](const std::string& note) { opened.notes.push_back(note); }};
  const RowTable table(directory, sample_format, options);
  for (std::int64_t i = 0; i < plan.shards(); ++i) opened.from_cache += table.shard(i)->path().parent_path() == cache;
  for (std::size_t c = 0; c < table.columns().size(); ++c) {
    std::vector<std::byte> rows(250 * table.columns()[c].row_bytes());
    table.read(c, 0, 250, rows);
    EXPECT_EQ(rows, sample_rows(table.columns()[c], 0, 250));
  }
  return opened;
}

void flip_byte(const fs::path& path, std::size_t at) {
  std::string bytes = read_bytes(path);
  bytes[at] = static_cast<char>(bytes[at] ^ 16);
  write_bytes(path, bytes);
}

TEST(ShardCache, CopiesOnceAndReadsTheCopies) {
  const Folder folder;
  write_table(folder / "t");
  const Opened first = open_and_check(folder / "t", folder / "new/cache");
  EXPECT_EQ(first.from_cache, 3);
  EXPECT_TRUE(first.notes.empty());
  EXPECT_EQ(names_in(folder / "new/cache"), copies_of(folder / "t"));
  for (const std::string& name : copies_of(folder / "t"))
    EXPECT_EQ(content_hash(RowShard(folder / "new/cache" / name, sample_format)) + ".h5", name);
  // The copies alone are read from now on: the originals' bytes may go bad unnoticed.
  for (std::int64_t i = 0; i < 3; ++i) flip_byte(folder / "t" / shard_name(i, 3), 5000);
  EXPECT_EQ(open_and_check(folder / "t", folder / "new/cache").from_cache, 3);
  EXPECT_EQ(open_and_check(folder / "t", folder / "new/cache", 1 << 30, /*verify=*/false).from_cache, 3);
}

/// Whether the directory is listed while `work` runs.
bool lists(const fs::path& directory, const std::function<void()>& work) {
  const int events = ::inotify_init1(IN_NONBLOCK);
  EXPECT_GE(::inotify_add_watch(events, directory.c_str(), IN_ACCESS | IN_ONLYDIR), 0);
  work();
  bool listed = false;
  alignas(inotify_event) char buffer[1 << 14];
  for (ssize_t bytes = 0; (bytes = ::read(events, buffer, sizeof buffer)) > 0;) {
    for (const char* at = buffer; at < buffer + bytes;) {
      inotify_event event{};
      std::memcpy(&event, at, sizeof event);
      listed = listed || event.len == 0;  // of the directory itself, not of a file in it
      at += sizeof event + event.len;
    }
  }
  ::close(events);
  return listed;
}

// 10a555e copied the whole table before it could be read, and listed the directory for each shard.
TEST(ShardCache, CopiesAShardWhenItIsFirstReadWithoutListingTheOthers) {
  const Folder folder;
  write_table(folder / "t");
  const fs::path cache = folder / "cache";
  fs::create_directories(cache);
  std::optional<RowTable> table;
  EXPECT_TRUE(lists(cache, [&] {
    table.emplace(folder / "t", sample_format, ReadOptions{true, cache, 1 << 30});
  })) << "what a killed process has left";
  EXPECT_EQ(names_in(cache).size(), 1U) << "the first shard, whose columns are the table's";
  EXPECT_FALSE(lists(cache, [&] { EXPECT_EQ(table->shard(2)->path().parent_path(), cache); }));
  EXPECT_EQ(names_in(cache).size(), 2U);
  EXPECT_FALSE(lists(cache, [&] { EXPECT_EQ(table->shard(1)->path().parent_path(), cache); }));
  EXPECT_EQ(names_in(cache), copies_of(folder / "t"));
}

// What is noted may be more than there is: nothing is turned away for it.
TEST(ShardCache, RoomThatAKilledCopierHasTakenIsFoundAgain) {
  const Folder folder;
  write_table(folder / "t");
  const fs::path cache = folder / "cache";
  open_and_check(folder / "t", cache);
  const std::uint64_t whole = bytes_in(cache);
  RowTable table(folder / "t", sample_format, ReadOptions{true, cache, whole});
  for (const std::string& name : copies_of(folder / "t")) fs::remove(cache / name);  // noted, and gone
  EXPECT_EQ(table.shard(1)->path().parent_path(), cache);
  EXPECT_EQ(table.shard(2)->path().parent_path(), cache);
}

TEST(ShardCache, TheLeastRecentlyUsedCopiesGoFirst) {
  const Folder folder;
  for (const double eta : {0.1, 0.2, 0.3}) write_table(folder / fmt::format("t{}", eta), eta);
  const fs::path cache = folder / "cache";
  open_and_check(folder / "t0.1", cache);
  const std::uint64_t one = bytes_in(cache);
  open_and_check(folder / "t0.2", cache);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  open_and_check(folder / "t0.1", cache);  // used again: t0.2 is the older one now
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const Opened third = open_and_check(folder / "t0.3", cache, 2 * one);
  EXPECT_EQ(third.from_cache, 3);
  std::set<std::string> expected = copies_of(folder / "t0.1");
  expected.merge(copies_of(folder / "t0.3"));
  EXPECT_EQ(names_in(cache), expected);
  EXPECT_LE(bytes_in(cache), 2 * one);
}

TEST(ShardCache, WhatDoesNotFitIsReadFromItsPlace) {
  const Folder folder;
  write_table(folder / "t");
  const std::uint64_t shard = fs::file_size(folder / "t" / shard_name(0, 3));
  const Opened opened = open_and_check(folder / "t", folder / "cache", shard + 10);
  EXPECT_EQ(opened.from_cache, 1);
  ASSERT_EQ(opened.notes.size(), 1U);
  EXPECT_NE(opened.notes[0].find("storage.cache-size"), std::string::npos) << opened.notes[0];
  EXPECT_NE(opened.notes[0].find(shard_name(1, 3)), std::string::npos) << opened.notes[0];
  EXPECT_LE(bytes_in(folder / "cache"), shard + 10);
  EXPECT_EQ(open_and_check(folder / "t", folder / "none", 0).from_cache, 0);
}

TEST(ShardCache, DamagedCopiesAreNeverTrusted) {
  const Folder folder;
  write_table(folder / "t");
  const fs::path cache = folder / "cache";
  open_and_check(folder / "t", cache);
  const fs::path copy = cache / *copies_of(folder / "t").begin();
  const std::string sound = read_bytes(copy);
  // Cut off: made anew on opening.
  write_bytes(copy, sound.substr(0, 3000));
  Opened opened = open_and_check(folder / "t", cache);
  EXPECT_EQ(opened.from_cache, 3);
  ASSERT_EQ(opened.notes.size(), 1U);
  EXPECT_NE(opened.notes[0].find(copy.string()), std::string::npos) << opened.notes[0];
  EXPECT_EQ(read_bytes(copy), sound);
  // Metadata of the same size that cannot be opened: removed, and the original is read.
  write_bytes(copy, std::string(sound.size(), 'x'));
  opened = open_and_check(folder / "t", cache);
  EXPECT_EQ(opened.from_cache, 2);
  EXPECT_FALSE(fs::exists(copy));
  // A row that changed: the read that meets it fails and names the copy.
  open_and_check(folder / "t", cache);
  flip_byte(copy, static_cast<std::size_t>(RowShard(copy, sample_format).offset(1)) + 7);
  expect_error([&] { open_and_check(folder / "t", cache); }, {copy.string(), "'image' is damaged"});
  // Where rows are not checked, copies are on opening.
  opened = open_and_check(folder / "t", cache, 1 << 30, /*verify=*/false);
  EXPECT_EQ(opened.from_cache, 3);
  EXPECT_EQ(read_bytes(copy), sound);
}

TEST(ShardCache, ADamagedOriginalIsNotCopied) {
  const Folder folder;
  write_table(folder / "t");
  const fs::path shard = folder / "t" / shard_name(1, 3);
  flip_byte(shard, static_cast<std::size_t>(RowShard(shard, sample_format).offset(0)));
  std::vector<std::string> notes;
  const ReadOptions options{true, folder / "cache", 1 << 30, [&](const std::string& note) { notes.push_back(note); }};
  const RowTable table(folder / "t", sample_format, options);
  EXPECT_EQ(table.shard(1)->path(), shard);
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_NE(notes[0].find("couplet verify"), std::string::npos) << notes[0];
  std::vector<std::byte> out(table.columns()[0].row_bytes());
  expect_error([&] { table.read(0, 100, 1, out); }, {shard.string(), "damaged"});
}

TEST(ShardCache, ADirectoryThatCannotBeUsedIsAnErrorAtOnce) {
  const Folder folder;
  write_table(folder / "t");
  write_bytes(folder / "file", "x");
  const auto open = [&](const fs::path& cache) {
    RowTable(folder / "t", sample_format, ReadOptions{true, cache, 1 << 30});
  };
  expect_error([&] { open(folder / "file"); }, {"/file", "storage.cache-dir"});
  expect_error([&] { open(folder / "file/inner"); }, {"/file/inner", "storage.cache-dir"});
  expect_error([&] { open("/proc/couplet"); }, {"/proc/couplet", "storage.cache-dir"});
}

TEST(ShardCache, AFullDiskIsSaidAndTheOriginalsAreRead) {
  const Folder folder, messages;
  write_table(folder / "t");
  const int status = run_in_child(messages / "message", [&] {
    limit_file_size(4000);
    const Opened opened = open_and_check(folder / "t", folder / "cache");
    if (opened.from_cache != 0 || opened.notes.size() != 1) fail("expected one note and no copies");
    fail("note: {}", opened.notes[0]);
  });
  EXPECT_EQ(WEXITSTATUS(status), 99);
  const std::string message = read_bytes(messages / "message");
  EXPECT_NE(message.find("note: " + (folder / "cache").string()), std::string::npos) << message;
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_NE(message.find("read from their place"), std::string::npos) << message;
  EXPECT_TRUE(names_in(folder / "cache").empty());
}

TEST(ShardCache, ProcessesShareIt) {
  const Folder folder, messages;
  write_table(folder / "a", 0.1);
  write_table(folder / "b", 0.2);
  const std::uint64_t table_bytes = bytes_in(folder / "a");
  std::vector<pid_t> children;
  for (int child = 0; child < 6; ++child) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    // Room for one table and a half, so that the two throw each other's copies out all the time.
    const int status = run_in_child(messages / std::to_string(child), [&] {
      for (int round = 0; round < 10; ++round)
        open_and_check(folder / (child % 2 == 0 ? "a" : "b"), folder / "cache", table_bytes * 3 / 2);
      if (::testing::Test::HasFailure()) fail("a wrong value");
    });
    std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  for (const std::string& name : messages.names()) ADD_FAILURE() << read_bytes(messages / name);
  for (const std::string& name : names_in(folder / "cache"))
    EXPECT_EQ(content_hash(RowShard(folder / "cache" / name, sample_format)) + ".h5", name);
  EXPECT_FALSE(names_in(folder / "cache").empty());
}

TEST(ShardCache, ACopierThatIsKilledLeavesWholeCopies) {
  const Folder folder;
  write_table(folder / "t");
  for (unsigned delay : {1000U, 4000U, 9000U, 15000U, 22000U}) {
    kill_in_midst(
        [&] {
          open_and_check(folder / "t", folder / "cache");
          for (const std::string& name : names_in(folder / "cache")) fs::remove(folder / "cache" / name);
        },
        delay);
    EXPECT_EQ(open_and_check(folder / "t", folder / "cache").from_cache, 3);
    EXPECT_EQ(names_in(folder / "cache"), copies_of(folder / "t"));
  }
}

}  // namespace
}  // namespace couplet::testing
