#include "pipeline/liveness/watchdog.h"

#include "pipeline/process/end_note.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

namespace couplet {

Watchdog::Watchdog(HeartbeatFiles files, int rank, int ranks, double timeout)
    : files_(std::move(files)), rank_(rank), patience_{timeout, ranks} {
  // Each look reads the notes of all ranks: a few of many look, and the others later, where those do not.
  constexpr int lookers = 8;
  if (rank % ((ranks + lookers - 1) / lookers) != 0) late_ = timeout / 4;

  for (int other = 0; other < ranks; ++other)
    if (other != rank_) others_.push_back({other, std::nullopt, 0});
  changed_.assign(others_.size(), Clock::time_point{});
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
  Clock::time_point before = Clock::now();
  Heartbeat own;
  for (std::int64_t number = 1;; ++number) {
    const Clock::time_point now = Clock::now();
    // This process itself was stopped: what it saw of the others, and how long it waits, is of another time.
    if (now - before > std::chrono::duration<double>(patience_.silent())) {
      restart_activity_clock();
      std::ranges::fill(changed_, now);
    }
    before = now;
    own = Heartbeat::own(rank_, number);
    files_.write(own);
    if (!others_.empty()) look_at_others(own, now);
    std::unique_lock lock(mutex_);
    if (stopping_.wait_for(lock, std::chrono::duration<double>(patience_.period()), [this] { return stop_; })) break;
  }
  ++own.number;
  own.activity.state = Activity::State::ended;
  own.activity.collectives = current_activity().collectives;
  files_.write(own);
}

void Watchdog::look_at_others(const Heartbeat& own, Clock::time_point now) {
  if (files_.end_announced()) end_all("");
  const double waited = own.activity.state == Activity::State::waiting ? own.activity.seconds - late_ : 0;
  if (waited < patience_.timeout / 2) {
    looked_ = {};
    return;
  }
  // With many ranks a look is at many files: twenty before the time is over, one at that moment, then as many again.
  const bool first = looked_ == Clock::time_point{};
  const double since = std::chrono::duration<double>(now - looked_).count();
  const bool just_over = waited >= patience_.wait() && waited - since < patience_.wait();
  if (!first && !just_over && since < patience_.timeout / 40) return;
  looked_ = now;
  for (std::size_t i = 0; i < others_.size(); ++i) {
    RankView& view = others_[i];
    const auto heartbeat = files_.read(view.rank);
    if (first || (heartbeat && (!view.heartbeat || heartbeat->number != view.heartbeat->number))) changed_[i] = now;
    if (heartbeat) view.heartbeat = heartbeat;
    view.silent = std::chrono::duration<double>(now - changed_[i]).count();
  }
  if (waited < patience_.wait()) return;
  if (const auto reason = reason_to_end(own, others_, patience_)) end_all(*reason);
}

void Watchdog::give_up(const std::string& reason) const {
  const std::string text = fmt::format("rank {}: its watchdog cannot go on: {}", rank_, reason);
  note_failure(rank_, text);
  fmt::print(stderr, "couplet: {}. The same command goes on from what is saved\n", text);
  std::fflush(stderr);
  ::_exit(exit_failed);
}

void Watchdog::end_all(const std::string& reason) const {
  if (!reason.empty() && files_.announce_end(reason)) {
    note_failure(rank_, fmt::format("rank {}: {}", rank_, reason));
    fmt::print(stderr,
               "couplet: rank {}: {}. All ranks end now; the same command goes on from what is saved. For a rank that "
               "was only slow, raise pipeline.timeout ({} s)\n",
               rank_, reason, patience_.timeout);
    std::fflush(stderr);
  }
  ::_exit(exit_failed);
}

}  // namespace couplet
