// The program as a user meets it: its messages and exit statuses, without running a stage to its end.
#include "storage/error.h"
#include "tests/method/data/idx_files.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace couplet::testing {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;
  std::string output, errors;
};

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class CommandLineTest : public ::testing::Test {
protected:
  CommandLineTest() {
    std::string name = (fs::temp_directory_path() / "couplet-launch-XXXXXX").string();
    if (!::mkdtemp(name.data())) fail("no temporary directory");
    folder_ = name;
  }
  ~CommandLineTest() override { fs::remove_all(folder_); }

  fs::path operator/(const std::string& name) const { return folder_ / name; }
  std::string run_dir() const { return (folder_ / "run").string(); }

  /// Starts build/couplet; its output goes to files.
  pid_t start(const std::vector<std::string>& words, const std::string& name = "out") const {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    const int output = open((folder_ / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int errors = open((folder_ / (name + ".err")).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(output, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    std::vector<char*> arguments{const_cast<char*>("couplet")};
    for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execv(COUPLET_BINARY_DIR "/couplet", arguments.data());
    _exit(127);
  }
  Outcome finish(pid_t pid, const std::string& name = "out") const {
    int status = 0;
    waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text_of(folder_ / name),
            text_of(folder_ / (name + ".err"))};
  }
  Outcome couplet(const std::vector<std::string>& words) const { return finish(start(words)); }

  /// Refused or failed with one line on stderr that holds `parts`.
  void expect_error(const Outcome& outcome, int status, const std::vector<std::string>& parts) const {
    EXPECT_EQ(outcome.status, status) << outcome.errors;
    EXPECT_TRUE(outcome.errors.starts_with("couplet: ")) << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
    for (const auto& part : parts)
      EXPECT_NE(outcome.errors.find(part), std::string::npos) << part << " in " << outcome.errors;
  }

  /// A folder with the four files of a data set, all of them truncated.
  std::string bad_source() const {
    const fs::path source = *this / "source";
    fs::create_directories(source);
    for (const std::string split : {"train", "t10k"}) {
      write_packed(source / (split + "-images-idx3-ubyte.gz"), idx_pixels(500, 28, 28).substr(0, 100000));
      write_text(source / (split + "-labels-idx1-ubyte.gz"), idx_labels(500, 10));
    }
    return source.string();
  }

  /// A process of this test that holds the run directory's lock until it is killed.
  pid_t hold_lock() const {
    fs::create_directories(run_dir());
    const int file = open((fs::path(run_dir()) / "lock").c_str(), O_RDWR | O_CREAT, 0644);
    const pid_t pid = fork();
    if (pid == 0) {
      struct flock lock {};
      lock.l_type = F_WRLCK;
      lock.l_whence = SEEK_SET;
      const std::string line = "process " + std::to_string(getpid()) + " on testhost\n";
      if (fcntl(file, F_SETLK, &lock) == 0 && write(file, line.data(), line.size()) > 0) pause();
      _exit(1);
    }
    close(file);
    for (int i = 0; i < 200 && text_of(fs::path(run_dir()) / "lock").empty(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return pid;
  }

  fs::path folder_;
};

TEST_F(CommandLineTest, EachCommandHasHelp) {
  const Outcome overview = couplet({"help"});
  EXPECT_EQ(overview.status, exit_ok);
  for (const std::string command :
       {"run", "stage", "status", "inspect", "import", "export", "sample", "config", "version"}) {
    EXPECT_NE(overview.output.find("  " + command + " "), std::string::npos) << command;
    const Outcome help = couplet({command, "--help"});
    EXPECT_EQ(help.status, exit_ok) << help.errors;
    EXPECT_NE(help.output.find("Exit status"), std::string::npos);
    EXPECT_EQ(couplet({"help", command}).output, help.output);
  }
  EXPECT_EQ(couplet({}).status, exit_usage);
  expect_error(couplet({"ruin"}), exit_usage, {"no command \"ruin\"", "nearest is run"});
}

TEST_F(CommandLineTest, VersionNamesTheLibraries) {
  const Outcome version = couplet({"version"});
  EXPECT_EQ(version.status, exit_ok) << version.errors;
  for (const std::string name : {"couplet " COUPLET_VERSION, "LibTorch 2", "HDF5 1", "MPI ", "CUDA "})
    EXPECT_NE(version.output.find(name), std::string::npos) << version.output;
}

TEST_F(CommandLineTest, ConfigReadsBack) {
  const Outcome first = couplet(
      {"config", "--teacher.channels=192", "--student.compare", "independent", "nf", "--student.time-mean", "-0.4"});
  ASSERT_EQ(first.status, exit_ok) << first.errors;
  EXPECT_NE(first.output.find("\nchannels = 192\n"), std::string::npos);
  EXPECT_NE(first.output.find("\ncompare = independent nf\n"), std::string::npos);
  EXPECT_NE(first.output.find("\ntime-mean = -0.4\n"), std::string::npos);
  std::ofstream(*this / "kept.ini") << first.output;
  EXPECT_EQ(couplet({"config", "--config", (*this / "kept.ini").string()}).output, first.output);
}

TEST_F(CommandLineTest, ShippedConfigurationsAreValid) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(COUPLET_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".ini") continue;
    EXPECT_EQ(couplet({"config", "--config", entry.path().string()}).status, exit_ok) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST_F(CommandLineTest, WrongKeysAndValuesAreRefusedBeforeAnyWork) {
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"run", "--run-dir", run_dir()});
    return couplet(words);
  };
  expect_error(run({"--teacher.chanels", "128"}), exit_usage, {"teacher.chanels", "nearest is --teacher.channels"});
  expect_error(run({"--rank", "2"}), exit_usage, {"--rank", "nearest is --ranks"});
  expect_error(run({"--teacher.label-drop", "2"}), exit_usage, {"teacher.label-drop", "\"2\"", "0 … 1"});
  expect_error(run({"--teacher.channels", "wide"}), exit_usage, {"teacher.channels", "wide"});
  expect_error(run({"--teacher.channels"}), exit_usage, {"teacher.channels"});
  expect_error(run({"--teacher.channels", "64", "--teacher.channels", "128"}), exit_usage,
               {"teacher.channels", "twice"});
  expect_error(run({"--teacher.channels", "100"}), exit_usage,
               {"teacher.channels = 100", "teacher.head-size = 64", "64 or 128"});
  expect_error(run({"--ranks", "3", "--teacher.batch", "32", "--features.batch", "96"}), exit_usage,
               {"teacher.batch = 32", "3 ranks", "30 or 33"});
  expect_error(run({"--redo", "teachr"}), exit_usage, {"teachr", "nearest is teacher"});
  expect_error(run({"--config", (*this / "none.ini").string()}), exit_usage, {"none.ini"});
  expect_error(run({"extra"}), exit_usage, {"couplet run --help"});
  expect_error(couplet({"run"}), exit_usage, {"--run-dir"});
  std::ofstream(*this / "wrong.ini") << "[teacher]\n\nchanels = 3\n";
  expect_error(run({"--config", (*this / "wrong.ini").string()}), exit_usage, {"wrong.ini:3", "teacher.channels"});
  EXPECT_FALSE(fs::exists(run_dir()));
}

TEST_F(CommandLineTest, MissingFilesAreRefusedBeforeAnyWork) {
  const auto run_with = [&](const std::string& flag) {
    return couplet({"run", "--run-dir", run_dir(), "--ranks", "1", flag, "/does/not/exist"});
  };
  expect_error(run_with("--prepare.source"), exit_usage,
               {"prepare.train-images", "/does/not/exist/train-images-idx3-ubyte.gz"});
  expect_error(run_with("--teacher.init"), exit_usage, {"teacher.init", "/does/not/exist"});
  EXPECT_FALSE(fs::exists(fs::path(run_dir()) / "prepare"));
}

// 10a555e knew it when the images were prepared, or not before the features were trained.
TEST_F(CommandLineTest, SizesThatDoNotFitTheImagesAreRefusedBeforeAnyWork) {
  const auto run_with = [&](const std::string& source, std::vector<std::string> further) {
    std::vector<std::string> words{"run",
                                   "--config",
                                   COUPLET_SOURCE_DIR "/configs/fashion-smoke.ini",
                                   "--ranks",
                                   "1",
                                   "--run-dir",
                                   run_dir(),
                                   "--prepare.source",
                                   source,
                                   "--prepare.train-rows",
                                   "0",
                                   "--prepare.test-rows",
                                   "0"};
    words.insert(words.end(), further.begin(), further.end());
    return couplet(words);
  };
  const auto source_of = [&](const std::string& name, std::uint32_t height, std::uint32_t width) {
    const fs::path source = *this / name;
    fs::create_directories(source);
    for (const std::string split : {"train", "t10k"}) {
      write_packed(source / (split + "-images-idx3-ubyte.gz"), idx_pixels(100, height, width));
      write_packed(source / (split + "-labels-idx1-ubyte.gz"), idx_labels(100, 10));
    }
    return source.string();
  };
  const std::string square = source_of("square", 28, 28);
  expect_error(run_with(square, {"--teacher.patch", "5"}), exit_usage, {"teacher.patch = 5", "28x28"});
  expect_error(run_with(square, {"--student.patch", "5"}), exit_usage, {"student.patch = 5", "28 x 28"});
  expect_error(run_with(source_of("oblong", 28, 24), {}), exit_usage, {"28", "24"});
  EXPECT_FALSE(fs::exists(fs::path(run_dir()) / "prepare"));
}

TEST_F(CommandLineTest, ARunDirectoryInUseIsRefusedAndLeftAlone) {
  const pid_t holder = hold_lock();
  expect_error(couplet({"run", "--run-dir", run_dir(), "--ranks", "1"}), exit_failed,
               {"in use by process " + std::to_string(holder), "testhost", run_dir()});
  EXPECT_FALSE(fs::exists(fs::path(run_dir()) / "config.ini"));
  // The owner's death frees it: the run then gets as far as the images, which are truncated.
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  const Outcome outcome = couplet({"run", "--run-dir", run_dir(), "--ranks", "1", "--prepare.source", bad_source()});
  EXPECT_EQ(outcome.status, exit_failed);
  EXPECT_NE(outcome.errors.find("train-images"), std::string::npos) << outcome.errors;
  EXPECT_NE(outcome.errors.find("couplet: stage prepare failed"), std::string::npos) << outcome.errors;
  EXPECT_TRUE(fs::exists(fs::path(run_dir()) / "config.ini"));
  EXPECT_NE(text_of(fs::path(run_dir()) / "log" / "prepare.log").find(bad_source()), std::string::npos);
}

TEST_F(CommandLineTest, AFailureThatAllRanksMeetIsToldOnce) {
  const Outcome outcome = couplet({"run", "--run-dir", run_dir(), "--ranks", "2", "--prepare.source", bad_source()});
  EXPECT_EQ(outcome.status, exit_failed);
  // mpirun may add a line of its own, of what a rank that ends could not tell it any more.
  std::istringstream lines(outcome.errors);
  std::vector<std::string> ours;
  for (std::string line; std::getline(lines, line);)
    if (line.find("ORTE_ERROR_LOG") == std::string::npos) ours.push_back(line);
  ASSERT_EQ(ours.size(), 2U) << outcome.errors;
  EXPECT_TRUE(ours[0].starts_with("couplet: rank 0: ")) << outcome.errors;
  EXPECT_TRUE(ours[1].starts_with("couplet: stage prepare failed")) << outcome.errors;
}

TEST_F(CommandLineTest, ALauncherThatStartsNoRankIsHeard) {
  const std::string rule(74, '-'), before = std::getenv("PATH");
  fs::create_directories(*this / "bin");
  std::ofstream(*this / "bin/mpirun") << "#!/bin/sh\nprintf '%s\\n' " << rule << " 'There are not enough' 'slots.' "
                                      << rule << " >&2\nexit 255\n";
  fs::permissions(*this / "bin/mpirun", fs::perms::owner_all);
  ::setenv("PATH", ((*this / "bin").string() + ":" + before).c_str(), 1);
  const Outcome outcome = couplet({"run", "--run-dir", run_dir(), "--ranks", "2", "--prepare.source", bad_source()});
  ::setenv("PATH", before.c_str(), 1);
  EXPECT_EQ(outcome.status, exit_failed);
  EXPECT_TRUE(
      outcome.errors.starts_with("mpirun: There are not enough slots.\ncouplet: stage prepare failed (exit "
                                 "status 255)"))
      << outcome.errors;
  EXPECT_NE(text_of(fs::path(run_dir()) / "log/prepare.log").find("not enough slots"), std::string::npos);
}

// 10a555e worked in each of them, without a word.
TEST_F(CommandLineTest, ProcessesThatAnotherMpiHasStartedAreRefused) {
  const auto started_with = [&](const std::vector<std::pair<std::string, std::string>>& variables,
                                const std::vector<std::string>& words) {
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    const Outcome outcome = couplet(words);
    for (const auto& [name, value] : variables) ::unsetenv(name.c_str());
    return outcome;
  };
  const std::vector<std::string> verify{"verify", (*this / "nothing").string()};
  const std::vector<std::vector<std::pair<std::string, std::string>>> launchers{
      {{"PMI_SIZE", "2"}, {"PMI_RANK", "0"}, {"MPI_LOCALNRANKS", "2"}},  // of Hydra
      {{"PMI_SIZE", "2"}, {"PMI_RANK", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}},
      {{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "0"}}};  // of srun without PMI
  for (const auto& launcher : launchers) {
    expect_error(started_with(launcher, verify), exit_usage,
                 {"2 processes were started (" + launcher.front().first + " = 2)", "Open MPI", "srun --mpi=pmix"});
  }
  // What a launcher leaves in a shell that it has started alone.
  expect_error(started_with({{"PMI_SIZE", "1"}, {"PMI_RANK", "0"}}, verify), exit_usage, {"does not exist"});
}

TEST_F(CommandLineTest, RanksThatAnotherMpirunHasStartedAreRefused) {
  const std::string before = std::getenv("PATH");
  fs::create_directories(*this / "bin");
  // It knows Open MPI's options, and sets no variable that is known here.
  std::ofstream(*this / "bin/mpirun") << "#!/bin/sh\nshift 5\n\"$@\"\n";
  fs::permissions(*this / "bin/mpirun", fs::perms::owner_all);
  const std::vector<std::string> words{"run", "--run-dir", run_dir(), "--prepare.source", bad_source(), "--ranks"};
  const auto run_with_ranks = [&](const char* ranks) {
    std::vector<std::string> all = words;
    all.emplace_back(ranks);
    ::setenv("PATH", ((*this / "bin").string() + ":" + before).c_str(), 1);
    const Outcome outcome = couplet(all);
    ::setenv("PATH", before.c_str(), 1);
    return outcome;
  };
  const Outcome two = run_with_ranks("2");
  EXPECT_EQ(two.status, exit_usage);
  EXPECT_NE(two.errors.find("`couplet run` started 2 ranks, to MPI there are 1"), std::string::npos) << two.errors;
  EXPECT_FALSE(fs::exists(fs::path(run_dir()) / "prepare"));
  // One rank needs no launcher, and what an outer one has left does not matter.
  ::setenv("PMI_SIZE", "2", 1);
  ::setenv("PMI_RANK", "0", 1);
  const Outcome one = run_with_ranks("1");
  ::unsetenv("PMI_SIZE");
  ::unsetenv("PMI_RANK");
  EXPECT_EQ(one.errors.find("processes were started"), std::string::npos) << one.errors;
}

// On 10a555e idle threads of ranks span on the cores that the others needed.
TEST_F(CommandLineTest, IdleThreadsOfRanksLeaveCoresThatAreTooFew) {
  const std::string before = std::getenv("PATH");
  fs::create_directories(*this / "bin");
  std::ofstream(*this / "bin/mpirun") << "#!/bin/sh\nprintf '%s' \"policy=$OMP_WAIT_POLICY\" > '"
                                      << (*this / "policy").string() << "'\nexit 1\n";
  fs::permissions(*this / "bin/mpirun", fs::perms::owner_all);
  const auto policy = [&](const std::string& threads) {
    ::setenv("PATH", ((*this / "bin").string() + ":" + before).c_str(), 1);
    couplet({"run", "--run-dir", run_dir(), "--ranks", "2", "--prepare.source", bad_source(), "--pipeline.threads",
             threads});
    ::setenv("PATH", before.c_str(), 1);
    return text_of(*this / "policy");
  };
  EXPECT_EQ(policy("500"), "policy=passive");
  if (std::thread::hardware_concurrency() >= 2) {
    EXPECT_EQ(policy("1"), "policy=");
  }
  ::setenv("OMP_WAIT_POLICY", "active", 1);
  EXPECT_EQ(policy("500"), "policy=active") << "the user's";
  ::unsetenv("OMP_WAIT_POLICY");
}

TEST_F(CommandLineTest, AChangedResultKeyIsRefusedWithTheDifference) {
  const std::vector<std::string> words{"run", "--run-dir", run_dir(), "--ranks", "1", "--prepare.source", bad_source()};
  EXPECT_EQ(couplet(words).status, exit_failed);
  const std::string kept = text_of(fs::path(run_dir()) / "config.ini");
  auto changed = words;
  changed.insert(changed.end(), {"--prepare.train-rows", "400", "--pipeline.threads", "1"});
  expect_error(couplet(changed), exit_usage, {"prepare.train-rows: recorded 0, now 400", "--redo prepare"});
  EXPECT_EQ(text_of(fs::path(run_dir()) / "config.ini"), kept);
  changed.insert(changed.end(), {"--redo", "prepare"});
  const Outcome redone = couplet(changed);
  EXPECT_EQ(redone.status, exit_failed);
  EXPECT_NE(redone.output.find("deleting, to be made again: prepare"), std::string::npos) << redone.output;
  EXPECT_NE(text_of(fs::path(run_dir()) / "config.ini").find("train-rows = 400"), std::string::npos);
}

TEST_F(CommandLineTest, AStageWithoutItsInputsIsRefused) {
  expect_error(couplet({"stage", "teacher", "--run-dir", run_dir()}), exit_usage, {"teacher needs prepare"});
  expect_error(couplet({"stage", "teachr", "--run-dir", run_dir()}), exit_usage, {"nearest is teacher"});
  expect_error(couplet({"stage", "--run-dir", run_dir()}), exit_usage, {"needs STAGE"});
}

TEST_F(CommandLineTest, StatusShowsEveryStage) {
  expect_error(couplet({"status", run_dir()}), exit_usage, {"no run directory"});
  couplet({"run", "--run-dir", run_dir(), "--ranks", "1", "--prepare.source", bad_source()});
  const Outcome status = couplet({"status", run_dir()});
  EXPECT_EQ(status.status, exit_ok) << status.errors;
  EXPECT_TRUE(std::regex_search(status.output, std::regex("\nprepare +failed"))) << status.output;
  EXPECT_NE(status.output.find("truncated: 99984 bytes of values"), std::string::npos) << status.output;
  EXPECT_TRUE(std::regex_search(status.output, std::regex("\nstudent/nf-0 +not started"))) << status.output;
  const Outcome json = couplet({"status", run_dir(), "--json"});
  EXPECT_NE(json.output.find("\"stage\": \"prepare\""), std::string::npos) << json.output;
}

TEST_F(CommandLineTest, ADryRunOfCleanWritesNothing) {
  couplet({"run", "--run-dir", run_dir(), "--ranks", "1", "--prepare.source", bad_source()});
  fs::remove(fs::path(run_dir()) / "lock");
  EXPECT_EQ(couplet({"clean", "--dry-run", run_dir()}).status, exit_ok);
  EXPECT_FALSE(fs::exists(fs::path(run_dir()) / "lock"));
  const pid_t holder = hold_lock();
  expect_error(couplet({"clean", "--dry-run", run_dir()}), exit_failed,
               {"in use by process " + std::to_string(holder), run_dir()});
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
}

TEST_F(CommandLineTest, BytesThatAreNoUtf8StandInJsonAsNumbers) {
  const std::string run = (*this / "gr\xfc").string();
  couplet({"run", "--run-dir", run, "--ranks", "1", "--prepare.source", bad_source()});
  const Outcome status = couplet({"status", run, "--json"});
  EXPECT_EQ(status.status, exit_ok) << status.errors;
  EXPECT_NE(status.output.find("gr\\\\xFC\""), std::string::npos) << status.output;
}

// On 10a555e inspect ended so, after it had read everything.
TEST_F(CommandLineTest, FilesWhoseNamesAreNoUtf8CanBeInspected) {
  const fs::path file = *this / "gr\xfc.h5";
  fs::copy_file(COUPLET_SOURCE_DIR "/tests/fuzz/corpus/shard/coupling-0", file);
  const Outcome inspected = couplet({"inspect", file.string(), "--json"});
  EXPECT_EQ(inspected.status, exit_ok) << inspected.errors;
  EXPECT_NE(inspected.output.find("gr\\\\xFC.h5\""), std::string::npos) << inspected.output;
}

TEST_F(CommandLineTest, NamesThatAreTooLongAreRefusedBeforeAnyWork) {
  const std::string name = std::string(300, 'a');
  const auto refused = [&](const std::string& output, const std::vector<std::string>& words) {
    auto all = words;
    all.insert(all.end(), {"--output", (*this / output).string()});
    expect_error(couplet(all), exit_usage, {output, "File name too long", "another name"});
  };
  refused(name + ".html", {"compare", run_dir()});
  refused(name + ".npz", {"reference", run_dir(), "--network", "none"});
  refused(name, {"import", "none.npz"});
}

TEST_F(CommandLineTest, InspectAndSampleSayWhatIsMissing) {
  expect_error(couplet({"inspect", "/does/not/exist"}), exit_usage, {"/does/not/exist"});
  expect_error(couplet({"inspect", folder_.string()}), exit_failed, {"manifest.json"});
  std::ofstream(*this / "x.h5") << "no shard";
  expect_error(couplet({"inspect", (*this / "x.h5").string()}), exit_failed, {"x.h5"});
  expect_error(couplet({"sample", "--run-dir", run_dir(), "--output", "x.png"}), exit_usage, {"no run directory"});
}

}  // namespace
}  // namespace couplet::testing
