// How a table is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace couplet {

struct ReadOptions {
  bool verify = true;               ///< compare the checksum of every block that rows are read from
  std::filesystem::path cache_dir;  ///< shards are copied here before they are read; empty: read where they lie
  std::uint64_t cache_bytes = 0;    ///< that the copies may take
  std::function<void(const std::string&)> note = [](const std::string&) {};  ///< what a user should know, a line
};

}  // namespace couplet
