// The checks of `couplet selftest`. Each is collective unless it says otherwise, and returns what this rank has found.
#pragma once

#include "launch/selftest/outcome.h"

#include "pipeline/distributed/communicator.h"

#include <c10/core/Device.h>

#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// The program, as it stands on disk: version and the linker's build id, which is another one for other code; "" where
/// the linker wrote none.
std::string build_id();

/// Whether all ranks are of one build; who they are.
Outcome check_ranks(Communicator& communicator, const std::vector<std::string>& hosts);
/// What the ranks compute on, and how fast. `device`: this rank's.
Outcome check_device(Communicator& communicator, c10::Device device);

/// Collectives against known results, the rate of a large message and the time of a small one.
Outcome check_collectives(Communicator& communicator, c10::Device device);
/// The same of tensors on GPUs over NCCL, where the ranks use it; a rank that is alone loads it.
Outcome check_nccl(Communicator& communicator, c10::Device device);

/// What a file that one rank publishes by renaming is to another, and locks between the ranks. `scratch` is a directory
/// that all ranks see.
Outcome check_files(Communicator& communicator, const std::filesystem::path& scratch,
                    const std::vector<std::string>& hosts);
/// A shard of a coupling table that each rank writes, and its neighbour reads and verifies; a byte of it that is
/// flipped, which reading must find.
Outcome check_shard(Communicator& communicator, const std::filesystem::path& scratch,
                    const std::vector<std::string>& hosts);

/// What is trained for a few steps on made-up data.
enum class SmallModel { student, teacher };
/// Training on each rank alone, then on all of them, by the same global batches: losses against stored ones.
Outcome check_training(SmallModel model, Communicator& communicator, c10::Device device,
                       const std::filesystem::path& scratch);
/// Goes on from the checkpoint that `check_training` has left in `scratch`: to the same weights.
Outcome check_checkpoint(SmallModel model, Communicator& communicator, c10::Device device,
                         const std::filesystem::path& scratch);

}  // namespace couplet
