// What tests of the pipeline share: a directory of all ranks, expected errors, tensors bit by bit.
#pragma once

#include "pipeline/tensor/weights.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

namespace couplet {

/// A temporary directory, the same on all ranks; removed when all are done with it.
class SharedDirectory {
public:
  SharedDirectory() {
    std::string path = (std::filesystem::temp_directory_path() / "couplet-test-XXXXXX").string();
    if (ranks().is_root() && ::mkdtemp(path.data()) == nullptr) throw std::runtime_error("no temporary directory");
    path_ = ranks().broadcast_text(path, 0);
  }
  ~SharedDirectory() {
    ranks().barrier();
    if (ranks().is_root()) std::filesystem::remove_all(path_);
  }
  SharedDirectory(const SharedDirectory&) = delete;
  SharedDirectory& operator=(const SharedDirectory&) = delete;
  /// A directory in it, made if it is not there.
  std::filesystem::path operator/(const std::string& name) const {
    const auto path = path_ / name;
    if (ranks().is_root()) std::filesystem::create_directories(path);
    ranks().barrier();
    return path;
  }

private:
  std::filesystem::path path_;
};

inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nnot found: " << part;
}

inline void expect_bit_equal(const NamedTensors& left, const NamedTensors& right) {
  ASSERT_EQ(left.size(), right.size());
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(tensors_hash(left), tensors_hash(right));
  for (const auto& [name, tensor] : left) EXPECT_TRUE(tensor.equal(right.at(name))) << name;
}

}  // namespace couplet
