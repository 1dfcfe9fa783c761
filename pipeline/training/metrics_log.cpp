#include "pipeline/training/metrics_log.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_handle.h"

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>

namespace couplet {
namespace {

/// Returns where the lines to keep end: behind the last whole line whose "step" is below `first_step`. Steps ascend
/// through the file, so the search goes backwards from its end. `cut` counts the whole lines behind that place.
std::size_t kept_bytes(const std::string& text, const std::filesystem::path& path, std::int64_t first_step,
                       std::int64_t& cut) {
  const std::size_t last_newline = text.rfind('\n');
  std::size_t end = last_newline == std::string::npos ? 0 : last_newline + 1;  // what follows was torn by a kill
  while (end > 0) {
    const std::size_t newline = end < 2 ? std::string::npos : text.rfind('\n', end - 2);
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    const auto line = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                            text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (line.is_discarded())
      fail("{}: byte {} begins a line that is no JSON; repair or remove it", path.string(), begin);
    if (!line.is_object() || !line.contains("step") || line["step"].get<std::int64_t>() < first_step) break;
    ++cut;
    end = begin;
  }
  return end;
}

}  // namespace

Metrics::Metrics(const std::filesystem::path& path, std::int64_t first_step) : path_(path) {
  file_ = open_to_append(path_);
  try {
    const std::string text = read_file(path_);
    const std::size_t kept = kept_bytes(text, path_, first_step, lost_);
    if (kept < text.size() && ::ftruncate(file_, static_cast<off_t>(kept)) != 0) {
      fail("{}: cannot be cut at step {}: {}", path_.string(), first_step, errno_text(errno));
    }
  } catch (...) {
    ::close(file_);
    throw;
  }
}

Metrics::~Metrics() {
  ::close(file_);
}

void Metrics::write(const nlohmann::json& line) {
  if (!write_whole(file_, line.dump() + "\n")) {
    fail("{}: a line cannot be written: {}", path_.string(), errno_text(errno));
  }
}

}  // namespace couplet
