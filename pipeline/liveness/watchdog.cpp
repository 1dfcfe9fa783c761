#include "pipeline/liveness/watchdog.h"

#include "pipeline/process/end_note.h"
#include "storage/error.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace couplet {

Watchdog::Watchdog(RankBoard board, int rank, int ranks, double timeout)
    : board_(std::move(board)), rank_(rank), patience_{timeout} {
  for (int other = 0; other < ranks; ++other)
    if (other != rank_) others_.push_back({other, std::nullopt, 0});
  changed_.assign(others_.size(), Clock::time_point{});
  thread_ = std::thread([this] { watch(); });
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
  RankRecord own;
  for (std::int64_t beat = 1;; ++beat) {
    const Clock::time_point now = Clock::now();
    // This process itself was stopped: what it saw of the others, and how long it waits, is of another time.
    if (now - before > std::chrono::duration<double>(patience_.silent())) {
      restart_activity_clock();
      std::ranges::fill(changed_, now);
    }
    before = now;
    own = RankRecord::own(rank_, beat);
    board_.write(own);
    if (!others_.empty()) look_at_others(own, now);
    std::unique_lock lock(mutex_);
    if (stopping_.wait_for(lock, std::chrono::duration<double>(patience_.period()), [this] { return stop_; })) break;
  }
  ++own.beat;
  own.activity.state = Activity::State::ended;
  own.activity.collectives = current_activity().collectives;
  board_.write(own);
}

void Watchdog::look_at_others(const RankRecord& own, Clock::time_point now) {
  if (board_.end_announced()) end_all("");
  const double waited = own.activity.state == Activity::State::waiting ? own.activity.seconds : 0;
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
    const auto record = board_.read(view.rank);
    if (first || (record && (!view.record || record->beat != view.record->beat))) changed_[i] = now;
    if (record) view.record = record;
    view.silent = std::chrono::duration<double>(now - changed_[i]).count();
  }
  if (waited < patience_.wait()) return;
  if (const auto reason = absence(own, others_, patience_)) end_all(*reason);
}

void Watchdog::end_all(const std::string& reason) const {
  if (!reason.empty() && board_.announce_end(reason)) {
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
