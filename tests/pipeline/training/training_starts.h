// Starts of the training process, each on a number of ranks of its own.
#pragma once

#include "storage/files/atomic_file.h"
#include "tests/pipeline/training/training_files.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace couplet {

/// Runs training_process in `directory`; returns its exit status, -1 if it was killed. `environment`: "NAME=value".
inline int start_training(int processes, const std::filesystem::path& directory, const std::string& keys,
                          const std::string& environment = "") {
  const std::string launcher =
      processes == 1 ? "" : fmt::format("{} --oversubscribe -n {} ", COUPLET_MPIEXEC, processes);
  // Where a rank was killed, mpirun ends the others at once, not after two seconds.
  const std::string command =
      fmt::format("OMP_NUM_THREADS=1 OMPI_MCA_odls_base_sigkill_timeout=0 {} {}{} {} {} > {}/output 2>&1", environment,
                  launcher, COUPLET_TRAINING_PROCESS, directory.string(), keys, directory.string());
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The weights and averages that both ended with are the same bytes.
inline void expect_same_files(const std::filesystem::path& left, const std::filesystem::path& right) {
  for (const char* file : {"weights.safetensors", "ema.safetensors", "ema-0.5.safetensors"}) {
    EXPECT_EQ(read_file(left / file), read_file(right / file)) << file << " in " << left << " and " << right;
  }
}

}  // namespace couplet
