// However one rank ends or hangs, all end, soon; the launcher's status tells, and a message says who.
#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace couplet {
namespace {

const std::string three_ranks = COUPLET_MPIEXEC " --oversubscribe -n 3 ";
constexpr double timeout = 3;  // seconds that the watchdog allows

/// Exit status of a command; timeout(1) gives 124 if it was still there after a minute.
int status_of_command(const std::string& command) {
  const int status = std::system(("timeout -k 5 60 " + command).c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Exit status of failing_rank.
int status_of(const std::string& launcher, const std::string& end) {
  return status_of_command(launcher + COUPLET_FAILING_RANK " " + end + " >/dev/null 2>&1");
}

/// Processes, besides mpirun's, whose command line holds `text`.
int processes_with(const std::string& text) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    const std::string words((std::istreambuf_iterator<char>(file)), {});
    count += words.starts_with(COUPLET_FAILING_RANK) && words.find(text) != std::string::npos;
  }
  return count;
}

/// What became of three ranks that a watchdog looks after.
struct Watched {
  int status = 0;
  std::string errors;
  int left = 0;  ///< ranks that are still there soon after
  int heartbeat_files = 0;
};

Watched watched(const std::string& end) {
  const auto directory = fs::temp_directory_path() / fmt::format("couplet-abort-{}-{}", end, ::getpid());
  fs::create_directories(directory);
  const auto errors = directory / "errors";
  Watched result;
  result.status = status_of_command(fmt::format("{}{} {} {} {} >/dev/null 2>{}", three_ranks, COUPLET_FAILING_RANK, end,
                                                (directory / "ranks").string(), timeout, errors.string()));
  for (int i = 0; i < 50 && (result.left = processes_with(directory.string())) > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  result.errors = read_file(errors);
  for (const auto& entry : fs::directory_iterator(directory / "ranks"))
    result.heartbeat_files += entry.path().extension() != ".end";
  fs::remove_all(directory);
  return result;
}

int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// All have ended, and once, in one line, that is said.
void expect_told(const Watched& result, const std::string& line) {
  EXPECT_EQ(result.status, exit_failed);
  EXPECT_EQ(result.left, 0);
  EXPECT_EQ(occurrences(result.errors, line), 1) << result.errors << "\nnot found: " << line;
  EXPECT_EQ(occurrences(result.errors, "did not arrive"), 1) << result.errors;
  EXPECT_NE(result.errors.find("raise pipeline.timeout (3 s)"), std::string::npos) << result.errors;
}

TEST(Ranks, EndWellTogether) {
  EXPECT_EQ(status_of(three_ranks, "well"), exit_ok);
  EXPECT_EQ(status_of("", "well"), exit_ok);
}

TEST(Ranks, InterruptedTogetherSaySo) {
  EXPECT_EQ(status_of(three_ranks, "interrupted"), exit_interrupted);
  EXPECT_EQ(status_of("", "interrupted"), exit_interrupted);
}

TEST(Ranks, OneThatThrowsEndsAllWithItsStatus) {
  EXPECT_EQ(status_of(three_ranks, "throws"), exit_failed);
  EXPECT_EQ(status_of(three_ranks, "refuses"), exit_usage);
}

TEST(Ranks, OneThatVanishesEndsAll) {
  EXPECT_EQ(status_of(three_ranks, "exits"), 3);
  const int killed = status_of(three_ranks, "killed");
  EXPECT_TRUE(killed != 0 && killed != 124) << killed;
}

TEST(Ranks, ReductionsOfDifferentLengthsEndAll) {
  EXPECT_EQ(status_of(three_ranks, "disagrees"), exit_failed);
}

TEST(Ranks, OneThatThrowsIsNotHeldUpByTheWatchdog) {
  const Watched result = watched("throws");
  EXPECT_EQ(result.status, exit_failed);
  EXPECT_EQ(result.left, 0);
  EXPECT_NE(result.errors.find("rank 1 has had enough"), std::string::npos) << result.errors;
  EXPECT_EQ(result.errors.find("did not arrive"), std::string::npos) << result.errors;
}

TEST(Ranks, OneThatSkipsACollectiveEndsAllWithBothCalls) {
  const Watched result = watched("skips");
  EXPECT_EQ(result.status, exit_failed);
  EXPECT_EQ(result.left, 0);
  EXPECT_NE(result.errors.find("the ranks' calls differ: rank 0: barrier; rank 1: all_reduce of Float [1000]"),
            std::string::npos)
      << result.errors;
}

// Collectives: two numbers at the communicator's beginning, four texts of two each at the watchdog's, and a barrier
// that all reach.
TEST(Ranks, OneThatLeavesIsNamed) {
  expect_told(watched("leaves"), "rank 1 did not arrive at barrier (collective 12) within 3 s");
}

TEST(Ranks, OneThatIsStoppedIsNamed) {
  const Watched result = watched("stopped");
  expect_told(result, "rank 1 did not arrive at barrier (collective 12) within 3 s");
  EXPECT_NE(result.errors.find("gives no sign of life"), std::string::npos) << result.errors;
}

TEST(Ranks, OneThatLoopsForEverIsNamed) {
  const Watched result = watched("loops");
  expect_told(result, "rank 1 did not arrive at barrier (collective 12) within 3 s");
  EXPECT_NE(result.errors.find("has been computing for"), std::string::npos) << result.errors;
}

// A look at what a broken device has done throws on the watchdog's thread.
TEST(Ranks, OneWhoseWatchdogFailsIsNamed) {
  const Watched result = watched("broken-device");
  EXPECT_EQ(result.status, exit_failed);
  EXPECT_EQ(result.left, 0);
  EXPECT_NE(result.errors.find("rank 1: its watchdog cannot go on: CUDA: an illegal memory access"), std::string::npos)
      << result.errors;
  EXPECT_EQ(result.errors.find("terminate called"), std::string::npos) << result.errors;
}

TEST(Ranks, OneThatIsBusyIsWaitedFor) {
  const Watched result = watched("busy");
  EXPECT_EQ(result.status, exit_ok) << result.errors;
  EXPECT_EQ(result.heartbeat_files, 1) << "of the three ranks of one node";
}

TEST(Ranks, OneThatIsBusyAndStoppedIsNamed) {
  expect_told(watched("busy-and-stopped"), "rank 1 did not arrive at barrier (collective 12) within 3 s");
}

TEST(Ranks, OneThatSaysHowFarItIsIsWaitedFor) {
  const Watched result = watched("slow");
  EXPECT_EQ(result.status, exit_ok) << result.errors;
}

}  // namespace
}  // namespace couplet
