#include "launch/selftest/selftest.h"

#include "launch/local/ranks.h"
#include "launch/selftest/checks.h"
#include "launch/selftest/deadline.h"

#include "pipeline/config/options.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/cuda_library.h"
#include "pipeline/distributed/device.h"
#include "pipeline/distributed/make_communicator.h"
#include "pipeline/liveness/watchdog.h"
#include "pipeline/process/interruption.h"
#include "pipeline/process/log.h"
#include "pipeline/tensor/arithmetic.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/host_name.h"
#include "storage/text.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <fmt/ranges.h>
#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace couplet {
namespace {

/// Of each check; the slowest is a first training, for which libraries and kernels are loaded.
constexpr std::chrono::seconds check_limit(60);
/// How long a rank waits for another one; below the limit, as the watchdog knows better who is missing.
constexpr double rank_timeout = 30;
constexpr std::size_t most_failures = 3;  ///< of one check that are printed

/// While it lives, this process says nothing: what training says is of no use here.
class Silence {
public:
  explicit Silence(const Communicator& communicator) : rank_(communicator.rank()), ranks_(communicator.size()) {
    open_log({}, "", rank_, ranks_, nowhere_.get());
  }
  ~Silence() { open_log({}, "", rank_, ranks_); }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;

private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> nowhere_{std::fopen("/dev/null", "w"), &std::fclose};
  int rank_, ranks_;
};

/// Runs the checks, one after the other, and prints what they find.
class Checks {
public:
  explicit Checks(Deadline& deadline) : deadline_(deadline) {}

  /// The ranks have met.
  void meet(Communicator& communicator) {
    communicator_ = &communicator;
    hosts_ = communicator.gather_text(host_name());
    deadline_.name(who(communicator.rank()));
  }
  const std::vector<std::string>& hosts() const { return hosts_; }

  /// Returns true if the check has not failed. Collective, as `work` is, which returns what this rank has found. What
  /// it throws ends all ranks.
  bool run(const std::string& name, const std::function<Outcome()>& work) {
    if (agree_to_stop(*communicator_)) throw Interrupted("stopped on request before the check " + name);
    deadline_.begin(name);
    const Outcome mine = found(name, work);
    const std::vector<std::string> failures =
        communicator_->gather_text(mine.state == Outcome::State::failed ? mine.text : "");
    const auto failed_ranks = std::ranges::count_if(failures, [](const auto& text) { return !text.empty(); });
    if (failed_ranks == 0)
      print(name, mine);
    else
      print_failures(name, failures);
    ++counts_[failed_ranks > 0 ? Outcome::State::failed : mine.state];
    if (failed_ranks > 0) failed_ones_.push_back(name);
    return failed_ranks == 0;
  }

  const std::vector<std::string>& failed_ones() const { return failed_ones_; }
  std::string summary() {
    return fmt::format("{} ok, {} FAILED, {} skipped", counts_[Outcome::State::ok], counts_[Outcome::State::failed],
                       counts_[Outcome::State::skipped]);
  }

private:
  std::string who(int rank) const { return fmt::format("rank {} on {}", rank, hosts_[static_cast<std::size_t>(rank)]); }

  Outcome found(const std::string& name, const std::function<Outcome()>& work) const {
    const auto with_name = [&](const std::string& reason) {
      return Error(fmt::format("{} FAILED on {}: {}", name, host_name(), reason));
    };
    try {
      return work();
    } catch (const Interrupted&) {  // of a training, which would say that it goes on
      throw Interrupted("stopped on request in the check " + name);
    } catch (const Error& error) {
      throw with_name(error.what());
    } catch (const fs::filesystem_error& error) {
      throw with_name(words_of(error));
    } catch (const c10::Error& error) {
      throw with_name(error.what_without_backtrace());
    }
  }

  void print(const std::string& name, const Outcome& outcome) const {
    if (!communicator_->is_root()) return;
    const char* const state = outcome.state == Outcome::State::ok       ? "ok"
                              : outcome.state == Outcome::State::failed ? "FAILED"
                                                                        : "skipped";
    fmt::print("{:<13} {:<8} {}\n", name, state, outcome.text);
    std::fflush(stdout);
  }

  /// The first ranks' words, each text once.
  void print_failures(const std::string& name, const std::vector<std::string>& failures) const {
    std::map<std::string, std::vector<std::int64_t>> ranks;
    for (std::size_t rank = 0; rank < failures.size(); ++rank)
      if (!failures[rank].empty()) ranks[failures[rank]].push_back(static_cast<std::int64_t>(rank));
    std::size_t printed = 0;
    for (const auto& [text, of] : ranks) {
      if (of.size() > 1 && of.size() == failures.size()) {  // all know of it together: the text says where it was
        print(name, failed("{}", text));
        return;
      }
      if (++printed > most_failures) break;
      const std::string others =
          of.size() > 1 ? fmt::format(" (alike: {})", ranges_text({of.begin() + 1, of.end()})) : "";
      print(name, failed("{}{}: {}", who(static_cast<int>(of.front())), others, text));
    }
    if (ranks.size() > most_failures)
      print(name, failed("and {} other failures of this check", ranks.size() - most_failures));
  }

  Deadline& deadline_;
  Communicator* communicator_ = nullptr;
  std::vector<std::string> hosts_;
  std::map<Outcome::State, int> counts_;
  std::vector<std::string> failed_ones_;
};

Outcome check_version() {
  return passed("couplet {}, {}, build {}", COUPLET_VERSION, mpi_name(),
                build_id().empty() ? "without an id" : build_id().substr(0, 12));
}

/// What the ranks share on the file system, and the watchdog that needs it.
struct Scratch {
  std::optional<Pending> directory;  ///< on rank 0; never committed, and so removed in the end
  fs::path path;                     ///< on all ranks
  std::optional<Watchdog> watchdog;
};

/// Makes it, where the directory can be written.
Outcome check_directory(Communicator& communicator, const std::vector<std::string>& hosts, const fs::path& directory,
                        Scratch& scratch) {
  const auto on_all = [&](const std::function<void()>& work) { return try_on_all(communicator, work); };
  const auto failure_of = [&](const FailedRank& of) {
    return failed("rank {} on {}: {}", of.rank, hosts[static_cast<std::size_t>(of.rank)], of.reason);
  };
  std::string path;
  if (const auto failure = on_all([&] {
        if (!communicator.is_root()) return;
        scratch.directory.emplace(directory / "couplet-selftest");
        path = scratch.directory->path().string();
        std::error_code error;
        if (!fs::create_directory(scratch.directory->path(), error))
          fail(
              "{} cannot be written: making a directory in it fails: {}. Choose with --dir one that can, on the file "
              "system where runs are to be kept",
              directory.string(), error ? error.message() : "it exists");
      }))
    return failure_of(*failure);
  scratch.path = communicator.broadcast_text(path, 0);
  if (const auto failure = on_all([&] {
        if (!is_there(scratch.path))
          fail("{}, which rank 0 on {} has made, is not there; choose with --dir a directory that all hosts share",
               scratch.path.string(), hosts[0]);
      }))
    return failure_of(*failure);
  scratch.watchdog.emplace(make_job_heartbeats(communicator, scratch.path / "heartbeats", "selftest"), rank_timeout);
  return passed("{} can be written{}", directory.string(),
                communicator.size() > 1 ? ", and every rank sees what rank 0 makes in it" : "");
}

/// `auto` refuses a process that was given GPUs and can use none: here that is a check's matter.
std::string selftest_device() {
  return find_cuda().library ? "cuda" : "cpu";
}

void check_trainings(Checks& checks, Communicator& communicator, c10::Device device, const fs::path& scratch) {
  const bool student =
      checks.run("student", [&] { return check_training(SmallModel::student, communicator, device, scratch); });
  checks.run("teacher", [&] { return check_training(SmallModel::teacher, communicator, device, scratch); });
  checks.run("checkpoint", [&] {
    return student ? check_checkpoint(SmallModel::student, communicator, device, scratch)
                   : skipped("the student was not trained as it should be");
  });
}

void skip_all(Checks& checks, const std::vector<std::string>& names, const std::string& why) {
  for (const std::string& name : names) checks.run(name, [&] { return skipped("{}", why); });
}

}  // namespace

void run_selftest(const fs::path& directory) {
  const auto start = std::chrono::steady_clock::now();
  Deadline deadline(check_limit, fmt::format("process {} on {}", ::getpid(), host_name()), "looking for GPUs");
  at::set_num_threads(static_cast<int>(resolve_task_threads(default_config().pipeline, local_ranks())));
  const std::string device_name = selftest_device();
  if (device_name == "cuda") choose_gpu_arithmetic({false, false});
  Checks checks(deadline);
  Scratch scratch;
  bool written = false;
  const auto met = [&](Communicator& ranks) {
    checks.meet(ranks);
    checks.run("version", check_version);
    checks.run("ranks", [&] { return check_ranks(ranks, checks.hosts()); });
    written = checks.run("directory", [&] { return check_directory(ranks, checks.hosts(), directory, scratch); });
    deadline.begin("start of NCCL");
  };
  deadline.begin("start of MPI");
  const std::unique_ptr<Communicator> communicator = make_communicator(device_name, met);
  checks.meet(*communicator);
  open_log({}, "", communicator->rank(), communicator->size());
  const c10::Device device = pick_device(device_name, *communicator);
  checks.run("communicator", [&] {
    if (communicator->size() == 1)
      return skipped("one rank talks to nobody; try two with mpirun -n 2 couplet selftest, srun, or --ranks 2");
    return check_collectives(*communicator, c10::kCPU);
  });
  checks.run("device", [&] { return check_device(*communicator, device); });
  checks.run("NCCL", [&] { return check_nccl(*communicator, device); });
  if (written) {
    checks.run("files", [&] { return check_files(*communicator, scratch.path, checks.hosts()); });
    checks.run("HDF5", [&] { return check_shard(*communicator, scratch.path, checks.hosts()); });
    const Silence silence(*communicator);
    check_trainings(checks, *communicator, device, scratch.path);
  } else {
    skip_all(checks, {"files", "HDF5", "student", "teacher", "checkpoint"}, "there is no directory to write to");
  }
  deadline.begin("removal of what was written");
  scratch.watchdog.reset();
  communicator->barrier();
  scratch.directory.reset();
  say("selftest: {} in {:.1f} s", checks.summary(), seconds_since(start));
  if (!checks.failed_ones().empty()) fail("selftest: these checks failed: {}", fmt::join(checks.failed_ones(), ", "));
}

}  // namespace couplet
