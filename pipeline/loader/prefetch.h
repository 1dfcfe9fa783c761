// Items made ahead of time on a background thread.
#pragma once

#include "pipeline/tensor/row_chunks.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace couplet {

/// Makes items number first … last - 1, in order, on one thread; at most `depth` are made or being made but not taken.
/// An error while making one is thrown by the `next` that would have returned it. The destructor waits for the item
/// being made.
template <class Item>
class Prefetch {
public:
  Prefetch(std::int64_t first, std::int64_t last, std::function<Item(std::int64_t)> make, std::size_t depth = 2)
      : make_(std::move(make)), depth_(depth), thread_([this, first, last] { work(first, last); }) {}

  ~Prefetch() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  /// The next item; waits for it. Not to be called more often than there are items.
  Item next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_.empty() || error_; });
    if (ready_.empty()) std::rethrow_exception(error_);
    Item item = std::move(ready_.front());
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return item;
  }

private:
  void work(std::int64_t first, std::int64_t last) {
    const OneThread one_thread;
    try {
      for (std::int64_t number = first; number < last; ++number) {
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [this] { return stopping_ || ready_.size() < depth_; });
          if (stopping_) return;
        }
        Item item = make_(number);
        const std::scoped_lock lock(mutex_);
        ready_.push_back(std::move(item));
        changed_.notify_all();
      }
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      error_ = std::current_exception();
      changed_.notify_all();
    }
  }

  std::function<Item(std::int64_t)> make_;
  std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> ready_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace couplet
