// What those who read and write HDF5 share: the lock around the library, errors with a file name, types, attributes.
#pragma once

#include "storage/error.h"
#include "storage/formats/element_type.h"

#include <H5Cpp.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace couplet {

/// Holds the process's one lock on the HDF5 library, which is not thread-safe, and keeps the text of the first
/// error (never printed) while it lives.
class Hdf5Lock {
public:
  Hdf5Lock();
  /// From then on HDF5 prints nothing, not even about memory that a damaged file made it lose when it closes at exit.
  ~Hdf5Lock();
  /// The innermost reason of the first failure since this lock was taken; "no reason given" if there is none.
  static std::string reason();

private:
  std::unique_lock<std::mutex> lock_;
};

/// Runs `work`, which may call HDF5, under the lock; an HDF5 error becomes "<file>: cannot <doing>: <reason>".
template <class Work>
decltype(auto) with_hdf5(const std::filesystem::path& file, std::string_view doing, Work&& work) {
  const Hdf5Lock lock;
  try {
    return work();
  } catch (const H5::Exception&) {
    fail("{}: cannot {}: {}", file.string(), doing, Hdf5Lock::reason());
  }
}

/// Returns what a call of HDF5's C interface returned. A negative value, its sign of failure, becomes an H5::Exception
/// of that call, as the C++ interface throws it.
template <class Result>
Result checked(Result result, const char* call) {
  if (result < 0) throw H5::Exception(call, "failed");
  return result;
}

/// A handle of HDF5's C interface, let go at the end.
class Hdf5Handle {
public:
  /// Takes what `call` returned.
  Hdf5Handle(hid_t id, const char* call) : id_(checked(id, call)) {}
  ~Hdf5Handle() { H5Idec_ref(id_); }
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  hid_t id() const { return id_; }

private:
  hid_t id_;
};

/// Returns the name of link `number` of a group, counted in the order of `index`.
std::string link_name(const H5::Group& group, H5_index_t index, hsize_t number);

/// The file access of every reader: plain files, and no locks unless the environment (HDF5_USE_FILE_LOCKING) demands
/// them, so that file systems that are read-only or have no locks work.
H5::FileAccPropList foreign_file_access();
/// The same for files of ours, which are of the 1.8 format.
H5::FileAccPropList shard_file_access();

/// The HDF5 type of a column; bfloat16 has none.
H5::DataType hdf5_type(ElementType type);
/// The inverse of hdf5_type; nothing if the type is none of ours.
std::optional<ElementType> element_type_of(const H5::DataType& type);

/// Write scalar attributes: int64, and text as a UTF-8 string of fixed length. HDF5 checksums them as metadata.
void write_attribute(const H5::H5Object& object, const std::string& name, std::int64_t value);
void write_attribute(const H5::H5Object& object, const std::string& name, const std::string& text);
/// Read them. An attribute that is missing or of another type is an error that names `file` and `owner`.
std::int64_t read_integer_attribute(const std::filesystem::path& file, const H5::H5Object& object,
                                    const std::string& owner, const std::string& name);
std::string read_text_attribute(const std::filesystem::path& file, const H5::H5Object& object, const std::string& owner,
                                const std::string& name);

}  // namespace couplet
