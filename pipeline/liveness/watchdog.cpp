#include "pipeline/liveness/watchdog.h"

#include "pipeline/process/end_note.h"
#include "pipeline/process/log.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <utility>

namespace couplet {

Watchdog::Watchdog(JobHeartbeats heartbeats, double timeout)
    : heartbeats_(std::move(heartbeats)),
      patience_{timeout, heartbeats_.nodes().size()},
      lookout_(heartbeats_, patience_) {
  thread_ = std::thread([this] {
    try {
      watch();
    } catch (const std::exception& error) {
      give_up(error.what());
    }
  });
}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  // A little less than a period: whoever wrote last, after two pauses at the latest.
  const double turn = 0.9 * patience_.period();
  Clock::time_point before = Clock::now();
  Heartbeat own;
  bool warned = false;
  for (std::int64_t number = 1;; ++number) {
    const Clock::time_point now = Clock::now();
    // This process itself was stopped: how long it waits is of another time.
    if (now - before > std::chrono::duration<double>(patience_.silent())) {
      restart_activity_clock();
      lookout_.forget();
    }
    before = now;
    own = Heartbeat::own(heartbeats_.rank(), number);
    heartbeats_.tell(own);
    heartbeats_.take_turn(now, turn);
    if (!heartbeats_.trouble().empty() && !std::exchange(warned, true))
      warn_line(fmt::format(
          "rank {}: what the ranks of {} do cannot be written to {} ({}); others may take them for "
          "stopped after {} s",
          heartbeats_.rank(), own.host, heartbeats_.directory().string(), heartbeats_.trouble(), patience_.silent()));
    if (heartbeats_.end_announced()) end_all("");
    if (const auto reason = lookout_.look(own, now)) end_all(*reason);
    std::unique_lock lock(mutex_);
    const std::chrono::duration<double> pause(patience_.period() / 2);
    if (stopping_.wait_for(lock, pause, [this] { return stop_; })) break;
  }
  ++own.number;
  own.activity.state = Activity::State::ended;
  own.activity.collectives = current_activity().collectives;
  heartbeats_.leave(own, Clock::now(), turn);
}

void Watchdog::give_up(const std::string& reason) const {
  const std::string text = fmt::format("rank {}: its watchdog cannot go on: {}", heartbeats_.rank(), reason);
  note_failure(heartbeats_.rank(), text);
  fmt::print(stderr, "couplet: {}. The same command goes on from what is saved\n", text);
  std::fflush(stderr);
  ::_exit(exit_failed);
}

void Watchdog::end_all(const std::string& reason) const {
  const int rank = heartbeats_.rank();
  if (!reason.empty() && heartbeats_.announce_end(reason)) {
    note_failure(rank, fmt::format("rank {}: {}", rank, reason));
    fmt::print(stderr,
               "couplet: rank {}: {}. All ranks end now; the same command goes on from what is saved. For a rank that "
               "was only slow, raise pipeline.timeout ({} s)\n",
               rank, reason, patience_.timeout);
    std::fflush(stderr);
  }
  ::_exit(exit_failed);
}

}  // namespace couplet
