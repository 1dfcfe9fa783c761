// What this process has asked of file systems since it started: totals that a run is compared with its model by
// (docs/scaling.md). Counted are the program's own files: tables, checkpoints, weights, records, logs. Not counted are
// programs and libraries, and what other libraries read by themselves.
#pragma once

#include <cstdint>

namespace couplet {

struct FileCounts {
  std::int64_t opens = 0;    ///< of files and directories, to read, make or change
  std::int64_t looks = 0;    ///< at shards by name and size (stat)
  std::int64_t renames = 0;  ///< each publishes something
  std::int64_t syncs = 0;    ///< fsync of a file or directory
  std::int64_t bytes_read = 0, bytes_written = 0;
};

/// The totals of all threads.
FileCounts file_counts();

// For who makes the calls. From any thread; each costs an addition.
void count_open();
void count_look();
void count_rename();
void count_sync();
void count_read(std::int64_t bytes);
void count_written(std::int64_t bytes);

}  // namespace couplet
