// What this process has read, for tests that count it.
#pragma once

#include <fstream>
#include <stdexcept>
#include <string>

namespace couplet {

/// The bytes that the process has asked the kernel for.
inline double bytes_read() {
  std::ifstream file("/proc/self/io");
  std::string name;
  double bytes = 0;
  file >> name >> bytes;
  if (name != "rchar:") throw std::runtime_error("/proc/self/io does not begin with rchar");
  return bytes;
}

}  // namespace couplet
