// The first bytes of a shard, looked at before HDF5 reads them.
#pragma once

#include <filesystem>

namespace couplet {

/// Tells what is no shard from what is a damaged one: an error for a file that is no HDF5 file, of another version than
/// our writer's, cut short, or with bytes behind its end.
void check_superblock(const std::filesystem::path& path);

}  // namespace couplet
