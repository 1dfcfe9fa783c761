// The input of a fuzz target as the files that readers ask for, and what they may do with it.
#pragma once

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/formats/foreign_array.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace couplet::fuzz {

/// A folder of this process's in TMPDIR, which tests/fuzz/run removes: a fuzzer ends without destructors.
inline const std::filesystem::path& fuzzed_folder() {
  static const auto* const folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "fuzz-XXXXXX").string();
    if (!::mkdtemp(name.data())) std::abort();
    return new std::filesystem::path(name);
  }();
  return *folder;
}

/// A file in the folder while it lives.
class FuzzedFile {
public:
  FuzzedFile(const std::string& name, std::string_view bytes) : path_(fuzzed_folder() / name) {
    FileHandle::create(path_).write_at(std::as_bytes(std::span(bytes)), 0);
  }
  /// Of a name that no other has.
  explicit FuzzedFile(std::string_view bytes) : FuzzedFile("input-" + std::to_string(++made), bytes) {}
  ~FuzzedFile() {
    std::error_code error;
    std::filesystem::remove(path_, error);
  }
  FuzzedFile(const FuzzedFile&) = delete;
  FuzzedFile& operator=(const FuzzedFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

private:
  inline static std::uint64_t made = 0;
  std::filesystem::path path_;
};

/// A finding: what a reader accepted contradicts itself.
inline void require(bool holds) {
  if (!holds) std::abort();
}

/// Runs a reader. It may refuse the input by an Error that says something; whatever else it throws is a finding.
template <class Work>
void read_or_refuse(Work work) {
  try {
    work();
  } catch (const Error& error) {
    require(!std::string_view(error.what()).empty());
  }
}

/// Reads every array of a file, in pieces of about a megabyte and at least one row.
inline void read_arrays(ForeignFile& file) {
  constexpr std::size_t bytes_at_once = std::size_t{1} << 20;
  require(!contents_text(file).empty());
  for (const std::string& name : file.names())
    read_or_refuse([&] {
      const auto array = file.open(name);
      const std::size_t row_bytes = array->row_bytes();
      const auto at_once = static_cast<std::int64_t>(bytes_at_once / std::max<std::size_t>(row_bytes, 1) + 1);
      for (std::int64_t left = row_bytes == 0 ? 0 : array->rows(); left > 0;) {
        const std::int64_t count = std::min(left, at_once);
        std::vector<std::byte> rows(static_cast<std::size_t>(count) * row_bytes);
        array->read_next(count, rows);
        left -= count;
      }
    });
}

}  // namespace couplet::fuzz

/// Each target defines it.
void fuzz_input(std::string_view input);

extern "C" inline __attribute__((used)) int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz_input({reinterpret_cast<const char*>(data), size});
  return 0;
}
