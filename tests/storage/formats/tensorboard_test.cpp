#include "storage/formats/tensorboard.h"

#include "storage/files/atomic_file.h"
#include "storage/formats/event_record.h"
#include "tests/storage/storage_testing.h"

#include <algorithm>
#include <string_view>

// The format itself is checked by TensorBoard's own reader: tests/whole/watch_test.py.

namespace couplet::testing {
namespace {

/// Steps of a file's records, its header's two left out.
std::vector<std::int64_t> steps_of(const std::filesystem::path& path) {
  std::vector<std::int64_t> steps;
  const std::string bytes = read_file(path);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto record = read_event_record(std::string_view(bytes).substr(at));
    if (!record) break;
    steps.push_back(record->step);
    at += record->bytes;
  }
  EXPECT_GE(steps.size(), 2U);
  return {steps.begin() + 2, steps.end()};
}

/// The last file by name; the others are empty.
std::filesystem::path last_file(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) files.push_back(entry.path());
  std::ranges::sort(files);
  for (const auto& path : files) EXPECT_EQ(std::filesystem::file_size(path) > 0, path == files.back()) << path;
  return files.at(files.size() - 1);
}

TEST(EventRecord, ChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c(""), 0U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);            // the check value of every catalogue of CRCs
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
}

TEST(EventRecord, DamageIsSeen) {
  const std::string record = scalars_record(1.5, 300, {{"loss", 0.25}});
  const auto read = read_event_record(record + "more");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->bytes, record.size());
  EXPECT_EQ(read->step, 300);
  for (std::size_t i = 0; i < record.size(); ++i) {
    std::string damaged = record;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    EXPECT_FALSE(read_event_record(damaged)) << "byte " << i;
    EXPECT_FALSE(read_event_record(record.substr(0, i))) << i << " bytes";
  }
}

TEST(EventFile, GoesOnInANewFileWithEveryStepOnce) {
  const Folder shared;
  const auto directory = shared / "tensorboard";
  {
    EventFile file(directory, 0);
    for (std::int64_t step = 0; step < 400; step += 100) file.add(step, {{"loss", 0.5}});
  }
  const auto first = last_file(directory);
  EXPECT_EQ(steps_of(first), (std::vector<std::int64_t>{0, 100, 200, 300}));
  const Picture picture{2, 3, 1, {1, 2, 3, 4, 5, 6}};
  {
    EventFile file(directory, 200);
    file.add(200, {{"loss", 0.25}});
    file.add(200, "samples", picture);
  }
  const auto second = last_file(directory);
  EXPECT_GT(second.filename(), first.filename());  // a reader that follows the directory goes on to it
  EXPECT_EQ(steps_of(second), (std::vector<std::int64_t>{0, 100, 200, 200}));
  const std::string bytes = read_file(second);
  EXPECT_NE(bytes.find(encode_png(picture)), std::string::npos);
  { const EventFile file(directory, 0); }
  EXPECT_EQ(steps_of(last_file(directory)), std::vector<std::int64_t>());
}

TEST(EventFile, LeavesOutATornRecordWithAWarning) {
  const Folder shared;
  const auto directory = shared / "tensorboard";
  {
    EventFile file(directory, 0);
    for (std::int64_t step = 0; step < 3; ++step) file.add(step, {{"loss", 0.5}});
  }
  const auto path = last_file(directory);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  std::string warning;
  EventFile(directory, 3, [&](const std::string& line) { warning += line; }).add(3, {{"loss", 0.5}});
  EXPECT_NE(warning.find(path.string() + ": no whole record at byte "), std::string::npos) << warning;
  EXPECT_EQ(steps_of(last_file(directory)), (std::vector<std::int64_t>{0, 1, 3}));
}

}  // namespace
}  // namespace couplet::testing
