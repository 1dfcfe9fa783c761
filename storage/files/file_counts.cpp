#include "storage/files/file_counts.h"

#include <atomic>

namespace couplet {
namespace {

struct AtomicFileCounts {
  std::atomic<std::int64_t> opens = 0, looks = 0, renames = 0, syncs = 0, bytes_read = 0, bytes_written = 0;
};
AtomicFileCounts counted_files;

void add_to(std::atomic<std::int64_t>& total, std::int64_t count) {
  total.fetch_add(count, std::memory_order_relaxed);
}

}  // namespace

FileCounts file_counts() {
  return {counted_files.opens, counted_files.looks,      counted_files.renames,
          counted_files.syncs, counted_files.bytes_read, counted_files.bytes_written};
}

void count_open() {
  add_to(counted_files.opens, 1);
}
void count_look() {
  add_to(counted_files.looks, 1);
}
void count_rename() {
  add_to(counted_files.renames, 1);
}
void count_sync() {
  add_to(counted_files.syncs, 1);
}
void count_read(std::int64_t bytes) {
  add_to(counted_files.bytes_read, bytes);
}
void count_written(std::int64_t bytes) {
  add_to(counted_files.bytes_written, bytes);
}

}  // namespace couplet
