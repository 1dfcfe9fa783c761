// What this process finds on its host: cores and memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace couplet {

/// The number of CPU cores that this process may use (its affinity, which Slurm and containers set).
std::int64_t usable_cores();

/// The bytes of host memory that all processes here together can still take: the lesser of what the kernel could give
/// without swapping (MemAvailable) and of what the limits of this process's cgroups (version 1 or 2) leave. Cached
/// files do not count as taken. Nothing if the system does not say. `root` is the file system that has proc/ and sys/.
std::optional<std::int64_t> available_host_memory(const std::filesystem::path& root = "/");
/// The bytes that this process can still map under its own limit (ulimit -v); nothing if there is no limit.
std::optional<std::int64_t> available_address_space();

}  // namespace couplet
