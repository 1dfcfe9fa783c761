// A directory of a benchmark's own.
#pragma once

#include "storage/files/atomic_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace couplet {

/// In COUPLET_BENCH_DIR or the system's place for temporary files; gone with the object.
class BenchDirectory {
public:
  BenchDirectory() {
    const char* place = std::getenv("COUPLET_BENCH_DIR");
    path_ =
        (place != nullptr ? fs::path(place) : fs::temp_directory_path()) / fmt::format("couplet-bench-{}", ::getpid());
    fs::create_directories(path_);
  }
  ~BenchDirectory() { fs::remove_all(path_); }
  BenchDirectory(const BenchDirectory&) = delete;
  BenchDirectory& operator=(const BenchDirectory&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

private:
  fs::path path_;
};

}  // namespace couplet
