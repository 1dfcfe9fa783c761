// Content hashes of files that lie outside a run, remembered by size and time of change: a file of many gigabytes is
// read once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace couplet {

/// Keeps the hashes known so far in a JSON file. Where that is absent, damaged or in a folder that cannot be written,
/// files are read again, and one that is gone counts as never there. A change that leaves a file's size and its time of
/// change to the nanosecond as they were is not noticed.
class FileHashes {
public:
  explicit FileHashes(std::filesystem::path cache);

  /// XXH3 of all bytes; of a file that is gone, of what it last held; "" for one that is not there and never was.
  std::string of(const std::filesystem::path& file);
  /// The hash of several files of one thing, in this order; "" where one of them never was there.
  std::string of(const std::vector<std::filesystem::path>& files);
  /// The hash that was noted last for something that is no file, such as a folder, whether it is there or not; "" if
  /// none was.
  std::string noted(const std::filesystem::path& path) const;
  void note(const std::filesystem::path& path, const std::string& hash);

  /// Publishes what was learnt since, if anything was, beside what other processes have kept meanwhile; a folder that
  /// cannot be written is no error.
  void keep() const;

private:
  struct Known {
    std::uint64_t size = 0;
    std::int64_t changed = 0;  ///< nanoseconds
    std::string hash;
  };
  using Hashes = std::map<std::string, Known>;  ///< by absolute path, as UTF-8

  /// What the file holds; nothing where it cannot be read.
  static Hashes read(const std::filesystem::path& cache);

  std::filesystem::path cache_;
  Hashes known_;
  Hashes learnt_;  ///< those of `known_` that were not in the file
};

}  // namespace couplet
