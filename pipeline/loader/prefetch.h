// Items that a background thread makes ahead of time.
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

/// Makes the items number first … last - 1, in order, on one thread; at most `depth` of them are made or being made and
/// not taken yet. The `next` that would have returned an item throws the error with which making it failed. The
/// destructor waits for the item that is being made.
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

  /// Waits for the next item and returns it. It is called at most as often as there are items.
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
