// What a process's memory grows by, measured in a process of its own.
#pragma once

#include "storage/error.h"
#include "storage/files/atomic_file.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <string>

namespace couplet {

/// A figure of /proc/self/status in MiB: VmRSS, VmHWM.
inline double process_memory(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == name + ":") {
      double kib = 0;
      status >> kib;
      return kib / 1024;
    }
  fail("/proc/self/status has no {}", name);
}

/// MiB by which the process's memory at its largest exceeds what it has now, once `work` is done.
inline double memory_growth(const std::function<void()>& work) {
  const double before = process_memory("VmRSS");
  work();
  return process_memory("VmHWM") - before;
}

/// The number that a shell command prints.
inline double number_from(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  double number = 0;
  const bool read = pipe != nullptr && std::fscanf(pipe, "%lf", &number) == 1;
  if (pipe == nullptr || ::pclose(pipe) != 0 || !read) fail("{} did not run", command);
  return number;
}

/// Runs this program again as `words` say and returns the number that it prints.
inline double in_own_process(const std::string& words) {
  return number_from(fmt::format("'{}' {}", fs::read_symlink("/proc/self/exe").string(), words));
}

}  // namespace couplet
