#include "storage/tables/row_table.h"

#include "storage/files/hash.h"
#include "storage/tables/filenames.h"
#include "storage/tables/table_check.h"
#include "tests/storage/storage_testing.h"
#include "tests/storage/tables/shard_samples.h"

#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

namespace couplet::testing {
namespace {

const ShardPlan plan{250, 100};

void write_shards(const Folder& folder) {
  for (std::int64_t i = 0; i < plan.shards(); ++i) {
    write_sample_shard(folder / shard_name(i, plan.shards()), sample_header(plan.first_row(i), plan.rows_of(i)));
  }
}

void write_table(const Folder& folder) {
  write_shards(folder);
  publish_manifest(folder.path(), plan, sample_format, {{"sigma", 0.5}});
}

nlohmann::json manifest_of(const Folder& folder) {
  return nlohmann::json::parse(read_bytes(folder / "manifest.json"));
}

TEST(ShardPlan, SplitsRows) {
  EXPECT_EQ(plan.shards(), 3);
  EXPECT_EQ(plan.first_row(2), 200);
  EXPECT_EQ(plan.rows_of(0), 100);
  EXPECT_EQ(plan.rows_of(2), 50);
  EXPECT_EQ((ShardPlan{200, 100}.shards()), 2);
  EXPECT_EQ((ShardPlan{200, 100}.rows_of(1)), 100);
}

TEST(RowTable, ReadsByGlobalNumberAcrossShards) {
  const Folder folder;
  write_table(folder);
  const RowTable table(folder.path(), sample_format);
  EXPECT_EQ(table.rows(), 250);
  EXPECT_EQ(table.block_rows(), 16);
  EXPECT_EQ(table.columns(), sample_columns());
  EXPECT_EQ(table.provenance(), sample_header().provenance);
  EXPECT_EQ(table.summary(), (nlohmann::json{{"sigma", 0.5}}));
  for (std::size_t c = 0; c < table.columns().size(); ++c) {
    for (const auto& [first, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {0, 250}, {99, 2}, {100, 100}, {90, 120}, {249, 1}, {250, 0}, {16, 16}}) {
      std::vector<std::byte> out(static_cast<std::size_t>(count) * table.columns()[c].row_bytes());
      table.read(c, first, count, out);
      EXPECT_EQ(out, sample_rows(table.columns()[c], first, count)) << c << ": " << first << " + " << count;
    }
  }
  std::vector<std::byte> out(4);
  expect_error([&] { table.read(2, 250, 1, out); }, {folder.path().string(), "row 250", "250 rows"});
  expect_error([&] { table.read(6, 0, 1, out); }, {"column number 6"});
}

TEST(RowTable, ManifestListsShardsAndHashes) {
  const Folder folder, again;
  write_table(folder);
  write_table(again);
  EXPECT_EQ(read_bytes(folder / "manifest.json"), read_bytes(again / "manifest.json"));
  const auto manifest = manifest_of(folder);
  ASSERT_EQ(manifest.at("shards").size(), 3u);
  EXPECT_EQ(manifest.at("shards")[2].at("name"), "shard-00002-of-00003.h5");
  EXPECT_EQ(manifest.at("shards")[2].at("rows"), 50);
  // The hash is that of the file without its columns' bytes.
  const fs::path last = folder / "shard-00002-of-00003.h5";
  std::string rest = read_bytes(last);
  const RowShard shard(last, sample_format);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> data;
  for (std::size_t c = 0; c < shard.columns().size(); ++c)
    data.emplace_back(shard.offset(c), 50 * shard.columns()[c].row_bytes());
  std::sort(data.rbegin(), data.rend());
  for (const auto& [offset, bytes] : data) rest.erase(offset, bytes);
  EXPECT_EQ(manifest.at("shards")[2].at("hash"), hash_text(rest));
  const RowTable table(folder.path(), sample_format);
  EXPECT_EQ(table.content_hash(), RowTable(again.path(), sample_format).content_hash());
  const Folder other;
  write_shards(other);
  auto header = sample_header(0, 100);
  header.provenance["eta"] = 0.06;
  for (std::int64_t i = 0; i < 3; ++i) {
    header.first_row = plan.first_row(i);
    header.rows = plan.rows_of(i);
    write_sample_shard(other / shard_name(i, 3), header);
  }
  publish_manifest(other.path(), plan, sample_format, {});
  EXPECT_NE(RowTable(other.path(), sample_format).content_hash(), table.content_hash());
}

/// How often files of this name in a directory are opened while `work` runs.
int opens_of(const std::string& name, const fs::path& directory, const std::function<void()>& work) {
  const int events = ::inotify_init1(IN_NONBLOCK);
  EXPECT_GE(::inotify_add_watch(events, directory.c_str(), IN_OPEN | IN_CLOSE), 0);
  work();
  int opens = 0;
  alignas(inotify_event) char buffer[1 << 14];
  for (ssize_t bytes = 0; (bytes = ::read(events, buffer, sizeof buffer)) > 0;) {
    for (const char* at = buffer; at < buffer + bytes;) {
      inotify_event event{};
      std::memcpy(&event, at, sizeof event);
      opens += event.len > 0 && (event.mask & IN_OPEN) != 0 && name == at + sizeof event;
      at += sizeof event + event.len;
    }
  }
  ::close(events);
  return opens;
}

// 10a555e opened each twice, and read all of its rows.
TEST(RowTable, EachShardIsOpenedOnceToCloseTheTable) {
  const Folder folder;
  write_shards(folder);
  const std::string last = shard_name(2, 3);
  const int once = opens_of(last, folder.path(), [&] { RowShard{folder / last, sample_format}; });
  EXPECT_GT(once, 0);
  EXPECT_EQ(opens_of(last, folder.path(), [&] { publish_manifest(folder.path(), plan, sample_format, {}); }), once);
}

TEST(RowTable, CompleteShardsAreRecognisedAndOthersExplained) {
  const Folder folder;
  write_shards(folder);
  const auto reason = [&](std::int64_t index, const ShardHeader& header, const std::vector<Column>& columns) {
    std::string why = "old";
    const bool complete = shard_is_complete(folder.path(), plan, index, header, columns, why);
    EXPECT_EQ(complete, why.empty());
    return why;
  };
  EXPECT_EQ(reason(1, sample_header(100, 100), sample_columns()), "");
  auto other = sample_header(100, 100);
  other.provenance["teacher"]["hash"] = "xyz";
  EXPECT_EQ(reason(1, other, sample_columns()), R"(provenance.teacher.hash is "abc", expected "xyz")");
  auto columns = sample_columns();
  columns[0].type = ElementType::float32;
  EXPECT_EQ(reason(1, sample_header(100, 100), columns), R"(columns.0.type is "float16", expected "float32")");
  EXPECT_EQ(reason(1, sample_header(100, 90), sample_columns()), "rows is 100, expected 90");
  fs::resize_file(folder / shard_name(1, 3), 5000);
  EXPECT_NE(reason(1, sample_header(100, 100), sample_columns()).find("truncated"), std::string::npos);
  fs::remove(folder / shard_name(1, 3));
  EXPECT_EQ(reason(1, sample_header(100, 100), sample_columns()), "missing");
}

TEST(RowTable, UnfinishedOrForeignTablesAreRefused) {
  const Folder folder;
  write_shards(folder);
  expect_error([&] { RowTable(folder.path(), sample_format); }, {"manifest.json", "not finished"});
  publish_manifest(folder.path(), plan, sample_format, {});
  expect_error([&] { RowTable(folder.path(), "couplet-dataset"); }, {"couplet-coupling", "couplet-dataset"});
  auto manifest = manifest_of(folder);
  manifest["format_version"] = 2;
  write_bytes(folder / "manifest.json", manifest.dump());
  expect_error([&] { RowTable(folder.path(), sample_format); }, {"format version 2", "up to version 1"});
  manifest["format_version"] = 1;
  manifest["rows"] = 249;
  write_bytes(folder / "manifest.json", manifest.dump());
  expect_error([&] { RowTable(folder.path(), sample_format); }, {"manifest.json", "damaged or edited"});
  for (const char* text : {"", "{", "[]", "{}", "3"}) {
    write_bytes(folder / "manifest.json", text);
    expect_error([&] { RowTable(folder.path(), sample_format); }, {"manifest.json"});
  }
}

/// Writes a manifest whose hash is right, so that only what it says can be wrong.
void put_manifest(const Folder& folder, nlohmann::json manifest) {
  manifest.erase("hash");
  manifest["hash"] = hash_text(manifest.dump());
  write_bytes(folder / "manifest.json", manifest.dump());
}

TEST(RowTable, AManifestOfAnotherProgramIsSaidToBeOne) {
  const Folder folder;
  const auto expect = [&](const std::string& text, const std::vector<std::string>& parts) {
    write_bytes(folder / "manifest.json", text);
    expect_error([&] { load_manifest(folder.path(), ""); }, parts);
  };
  for (const char* text : {"[]", "3", "{}", R"({"format": 3})", R"({"name": "app", "version": "1.0"})"})
    expect(text, {"manifest.json", "no manifest of a Couplet table", "'format'", "move it away"});
  expect(R"({"format": "zarr"})", {"manifest.json", "format \"zarr\"", "couplet-"});
  expect(R"({"format": "couplet-coupling"})", {"manifest.json", "no key 'format_version'"});
  expect(R"({"format": "couplet-coupling", "format_version": "one"})",
         {"manifest.json", "\"one\"", "'format_version'"});
  expect("<html>", {"manifest.json", "no JSON from byte 1"});
  expect(std::string(200'000, '['), {"manifest.json", "more than 32 levels"});
}

TEST(RowTable, AManifestThatContradictsItselfIsRefused) {
  const Folder folder;
  write_shards(folder);
  publish_manifest(folder.path(), plan, sample_format, {});
  const nlohmann::json sound = manifest_of(folder);
  const auto expect = [&](const char* key, const nlohmann::json& value, const std::vector<std::string>& parts) {
    nlohmann::json manifest = sound;
    manifest[key] = value;
    if (value.is_null()) manifest.erase(key);
    put_manifest(folder, manifest);
    expect_error([&] { load_manifest(folder.path(), sample_format); }, parts);
  };
  for (const char* key :
       {"rows", "shard_rows", "block_rows", "shard_format_version", "provenance", "columns", "shards"}) {
    expect(key, nullptr, {"manifest.json", std::string("no key '") + key});
    expect(key, "text", {"manifest.json", "\"text\"", std::string("'") + key});
  }
  expect("shard_rows", std::numeric_limits<std::int64_t>::max(), {"lists 3 shards, expected 1"});
  expect("rows", 0, {"0 rows"});
  nlohmann::json shards = sound["shards"];
  shards[1]["name"] = "shard-00002-of-00003.h5";
  expect("shards", shards, {"shard 1", "shard-00002-of-00003.h5", "shard-00001-of-00003.h5"});
  shards = sound["shards"];
  shards[2].erase("hash");
  expect("shards", shards, {"shard 2", "no key 'hash'"});
  put_manifest(folder, sound);
  EXPECT_EQ(load_manifest(folder.path(), sample_format), sound);
}

TEST(RowTable, AMissingDirectoryIsOneLine) {
  const Folder folder;
  expect_error([&] { RowTable(folder / "none", sample_format); }, {"none/manifest.json", "does not exist"});
  expect_error([&] { publish_manifest(folder / "none", plan, sample_format, {}); },
               {"none/shard-00000", "No such file"});
}

/// Names a folder to a process that run_on_read_only started, for which it is read-only.
constexpr const char* read_only_variable = "COUPLET_READ_ONLY";

/// Runs the test that calls it once more, in a process for which `directory` is read-only: in a mount namespace of its
/// own, or, where that is not allowed, by its permissions.
CommandResult run_on_read_only(const fs::path& directory) {
  const ::testing::TestInfo& test = *::testing::UnitTest::GetInstance()->current_test_info();
  const std::string self = fs::read_symlink("/proc/self/exe").string(), where = directory.string();
  const std::string command = std::string(read_only_variable) + "=" + where + " " + self +
                              " --gtest_filter=" + test.test_suite_name() + "." + test.name();
  const std::string mount = "mount --bind " + where + " " + where + " && mount -o remount,bind,ro " + where;
  if (run_command("unshare --map-root-user --mount sh -c '" + mount + "'").status == 0)
    return run_command("unshare --map-root-user --mount sh -c '" + mount + " && " + command + "'");
  if (::geteuid() == 0) return {-1, "root, without mount namespaces"};
  fs::permissions(directory, fs::perms::owner_write, fs::perm_options::remove);
  CommandResult result = run_command(command);
  fs::permissions(directory, fs::perms::owner_write, fs::perm_options::add);
  return result;
}

void expect_read_and_not_written(const fs::path& path) {
  const RowTable table(path, sample_format);
  std::vector<std::byte> out(250 * table.columns()[0].row_bytes());
  table.read(0, 0, 250, out);
  EXPECT_EQ(out, sample_rows(table.columns()[0], 0, 250));
  EXPECT_TRUE(survey_table(path).problems.empty());
  EXPECT_TRUE(check_shard(survey_table(path), 1, false, {}).empty());
  const std::string here = path.string();
  expect_error([&] { publish_manifest(path, plan, sample_format, {}); }, {here, "cannot open to write", "errno"});
  expect_error([&] { write_sample_shard(path / "new.h5"); }, {here + "/new.h5", "cannot open to write", "errno"});
  expect_error(
      [&] {
        RowTable(path, sample_format, ReadOptions{true, path / "cache", 1000});
      },
      {here, "storage.cache-dir"});
}

TEST(RowTable, ReadOnlyPlacesAreReadAndNotWritten) {
  if (const char* directory = std::getenv(read_only_variable)) return expect_read_and_not_written(directory);
  const Folder folder;
  write_table(folder);
  const auto result = run_on_read_only(folder.path());
  if (result.status == -1) GTEST_SKIP() << result.output;
  EXPECT_EQ(result.status, 0) << result.output;
  EXPECT_NE(result.output.find("[  PASSED  ] 1 test"), std::string::npos) << result.output;
}

TEST(RowTable, EveryShardIsCheckedWhenItIsRead) {
  const Folder folder;
  write_table(folder);
  const fs::path one = folder / shard_name(1, 3);
  const std::string whole = read_bytes(one);
  const auto read = [&](std::int64_t row) {
    const RowTable table(folder.path(), sample_format);
    std::vector<std::byte> out(table.columns()[0].row_bytes());
    table.read(0, row, 1, out);
  };
  auto other = sample_header(100, 100);
  other.provenance["teacher"]["hash"] = "xyz";
  write_sample_shard(one, other);
  expect_error([&] { read(100); },
               {"shard-00001-of-00003.h5", "manifest.json", "provenance.teacher.hash", "\"xyz\"", "\"abc\""});
  read(99);
  read(200);
  fs::copy_file(folder / shard_name(0, 3), one, fs::copy_options::overwrite_existing);
  expect_error([&] { read(100); }, {"shard-00001", "first_row is 0, expected 100"});
  write_bytes(one, whole + "x");
  expect_error([&] { RowTable(folder.path(), sample_format).require_shards(); }, {"shard-00001", "was replaced"});
  fs::remove(one);
  expect_error([&] { read(100); }, {"shard-00001", "missing"});
  expect_error([&] { RowTable(folder.path(), sample_format).require_shards(); }, {"shard-00001", "missing"});
  expect_error([&] { publish_manifest(folder.path(), plan, sample_format, {}); }, {"shard-00001", "missing"});
  write_bytes(one, whole);
  RowTable(folder.path(), sample_format).require_shards();
}

/// Shards of both versions make one table: what they hold is the same.
TEST(RowTable, ShardsOfAnEarlierVersionStay) {
  const Folder folder;
  write_shards(folder);
  ShardHeader earlier = sample_header(100, 100);
  earlier.format_version = 1;
  write_sample_shard(folder / shard_name(1, 3), earlier);
  std::string why;
  EXPECT_TRUE(shard_is_complete(folder.path(), plan, 1, sample_header(100, 100), sample_columns(), why)) << why;
  publish_manifest(folder.path(), plan, sample_format, {});
  EXPECT_EQ(manifest_of(folder).at("shard_format_version"), 2);
  EXPECT_EQ(manifest_of(folder).at("shards")[1].at("hash"), hash_file(folder / shard_name(1, 3)));
  const RowTable table(folder.path(), sample_format);
  for (std::size_t c = 0; c < table.columns().size(); ++c) {
    std::vector<std::byte> out(250 * table.columns()[c].row_bytes());
    table.read(c, 0, 250, out);
    EXPECT_EQ(out, sample_rows(table.columns()[c], 0, 250));
  }
}

/// The descriptors of this process that are shards of a folder.
std::size_t open_shards(const Folder& folder) {
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    count += fs::read_symlink(entry.path(), error).string().starts_with(folder.path().string() + "/shard-");
  }
  return count;
}

TEST(RowTable, ShardsAreOpenedWhenTheyAreReadAndWithinABound) {
  const Folder folder;
  const ShardPlan many{400, 10};
  for (std::int64_t i = 0; i < many.shards(); ++i)
    write_sample_shard(folder / shard_name(i, many.shards()), sample_header(many.first_row(i), many.rows_of(i)));
  publish_manifest(folder.path(), many, sample_format, {});
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{100, 100};  // a quarter of them are a table's
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  const RowTable table(folder.path(), sample_format);
  EXPECT_EQ(open_shards(folder), 1U);
  std::vector<std::byte> out(table.columns()[0].row_bytes());
  table.read(0, 55, 1, out);
  EXPECT_EQ(open_shards(folder), 2U);
  for (std::int64_t row = 0; row < 400; ++row) {
    table.read(0, row, 1, out);
    ASSERT_EQ(out, sample_rows(table.columns()[0], row, 1));
  }
  EXPECT_LE(open_shards(folder), 26U);  // and the first, which tells the columns
  std::ignore = ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(RowTable, MixturesCannotBeClosed) {
  const Folder folder;
  write_shards(folder);
  auto other = sample_header(100, 100);
  other.provenance["eta"] = 0.1;
  write_sample_shard(folder / shard_name(1, 3), other);
  expect_error([&] { publish_manifest(folder.path(), plan, sample_format, {}); },
               {"shard-00001", "shard-00000", "provenance.eta is 0.1, expected 0.05"});
  EXPECT_FALSE(fs::exists(folder / "manifest.json"));
}

}  // namespace
}  // namespace couplet::testing
