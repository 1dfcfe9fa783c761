// What this process finds on its host: cores and memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace couplet {

/// CPU cores that this process may use (its affinity, which Slurm and containers set).
std::int64_t usable_cores();

/// Bytes of host memory that all processes here together can still take: what the kernel could give without swapping
/// (MemAvailable), and what the limits of this process's cgroups (version 1 or 2) leave, cached files not counted as
/// taken. Nothing where the system does not tell. `root`: of the file system with proc/ and sys/.
std::optional<std::int64_t> available_host_memory(const std::filesystem::path& root = "/");
/// Bytes that this process can still map under its own limit (ulimit -v); nothing if there is none.
std::optional<std::int64_t> available_address_space();

}  // namespace couplet
