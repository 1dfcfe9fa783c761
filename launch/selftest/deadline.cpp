#include "launch/selftest/deadline.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace couplet {

Deadline::Deadline(std::chrono::milliseconds each, std::string who, std::string check)
    : each_(each), who_(std::move(who)), check_(std::move(check)), until_(Clock::now() + each_), thread_([this] {
        watch();
      }) {}

Deadline::~Deadline() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Deadline::name(const std::string& who) {
  const std::scoped_lock lock(mutex_);
  who_ = who;
}

void Deadline::begin(const std::string& check) {
  const std::scoped_lock lock(mutex_);
  check_ = check;
  until_ = Clock::now() + each_;
}

void Deadline::watch() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (Clock::now() >= until_) {
      fmt::print(stderr,
                 "couplet: {} FAILED: {} is not done with it after {:.3g} s. Of the processes of this job, those that "
                 "print no such line did not come to it: look at their hosts first\n",
                 check_, who_, std::chrono::duration<double>(each_).count());
      std::fflush(nullptr);
      std::_Exit(1);
    }
    changed_.wait_until(lock, until_);
  }
}

}  // namespace couplet
