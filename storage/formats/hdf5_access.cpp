#include "storage/formats/hdf5_access.h"

#include <algorithm>
#include <array>

namespace couplet {
namespace {

std::mutex& hdf5_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// Guarded by the mutex.
std::string& last_reason() {
  static std::string reason;
  return reason;
}

herr_t note_innermost(unsigned depth, const H5E_error2_t* error, void*) {
  // What fails later, such as closing a file that could not be written, only follows from the first failure.
  if (depth == 0 && error->desc && last_reason().empty()) last_reason() = error->desc;
  return 0;
}

/// HDF5 calls this in place of printing its error stack.
herr_t keep_reason(hid_t stack, void*) {
  return H5Ewalk2(stack, H5E_WALK_UPWARD, note_innermost, nullptr);
}

H5::FloatType half_type() {
  H5::FloatType type(H5::PredType::IEEE_F32LE);
  type.setFields(15, 10, 5, 0, 10);
  type.setSize(2);
  type.setEbias(15);
  return type;
}

H5::Attribute open_attribute(const std::filesystem::path& file, const H5::H5Object& object, const std::string& owner,
                             const std::string& name) {
  if (!object.attrExists(name)) {
    fail("{}: {} has no attribute '{}'; it is unfinished or no Couplet row shard", file.string(), owner, name);
  }
  return object.openAttribute(name);
}

}  // namespace

Hdf5Lock::Hdf5Lock() : lock_(hdf5_mutex()) {
  last_reason().clear();
  H5Eset_auto2(H5E_DEFAULT, keep_reason, nullptr);
}

Hdf5Lock::~Hdf5Lock() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

std::string Hdf5Lock::reason() {
  return last_reason().empty() ? "no reason given" : last_reason();
}

std::string link_name(const H5::Group& group, H5_index_t index, hsize_t number) {
  const auto read = [&](char* name, std::size_t size) {
    return checked(H5Lget_name_by_idx(group.getId(), ".", index, H5_ITER_INC, number, name, size, H5P_DEFAULT),
                   "H5Lget_name_by_idx");
  };
  std::string name(static_cast<std::size_t>(read(nullptr, 0)), '\0');
  read(name.data(), name.size() + 1);
  return name;
}

H5::FileAccPropList foreign_file_access() {
  H5::FileAccPropList access;
  access.setSec2();
  access.setFcloseDegree(H5F_CLOSE_STRONG);
#if (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0)) || H5_VERSION_GE(1, 12, 1)
  checked(H5Pset_file_locking(access.getId(), false, true), "H5Pset_file_locking");
#endif
  return access;
}

H5::FileAccPropList shard_file_access() {
  H5::FileAccPropList access = foreign_file_access();
#if H5_VERSION_GE(1, 10, 2)
  access.setLibverBounds(H5F_LIBVER_V18, H5F_LIBVER_V18);
#else
  access.setLibverBounds(H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
#endif
  return access;
}

H5::DataType hdf5_type(ElementType type) {
  switch (type) {
    case ElementType::uint8:
      return H5::PredType::STD_U8LE;
    case ElementType::int32:
      return H5::PredType::STD_I32LE;
    case ElementType::int64:
      return H5::PredType::STD_I64LE;
    case ElementType::float16:
      return half_type();
    case ElementType::float32:
      return H5::PredType::IEEE_F32LE;
    case ElementType::float64:
      return H5::PredType::IEEE_F64LE;
    case ElementType::bfloat16:
      break;
  }
  fail("element type {} cannot be a column of an HDF5 file; use float16 or float32", element_name(type));
}

std::optional<ElementType> element_type_of(const H5::DataType& type) {
  constexpr std::array types{ElementType::uint8,   ElementType::int32,   ElementType::int64,
                             ElementType::float16, ElementType::float32, ElementType::float64};
  const auto found = std::ranges::find_if(types, [&](ElementType known) { return type == hdf5_type(known); });
  if (found == types.end()) return std::nullopt;
  return *found;
}

void write_attribute(const H5::H5Object& object, const std::string& name, std::int64_t value) {
  object.createAttribute(name, H5::PredType::STD_I64LE, H5::DataSpace(H5S_SCALAR))
      .write(H5::PredType::NATIVE_INT64, &value);
}

void write_attribute(const H5::H5Object& object, const std::string& name, const std::string& text) {
  H5::StrType type(H5::PredType::C_S1, std::max<std::size_t>(text.size(), 1));
  type.setCset(H5T_CSET_UTF8);
  type.setStrpad(H5T_STR_NULLPAD);
  object.createAttribute(name, type, H5::DataSpace(H5S_SCALAR)).write(type, text.c_str());
}

std::int64_t read_integer_attribute(const std::filesystem::path& file, const H5::H5Object& object,
                                    const std::string& owner, const std::string& name) {
  const H5::Attribute attribute = open_attribute(file, object, owner, name);
  if (attribute.getTypeClass() != H5T_INTEGER || attribute.getSpace().getSimpleExtentType() != H5S_SCALAR) {
    fail("{}: attribute '{}' of {} is no integer", file.string(), name, owner);
  }
  std::int64_t value = 0;
  attribute.read(H5::PredType::NATIVE_INT64, &value);
  return value;
}

std::string read_text_attribute(const std::filesystem::path& file, const H5::H5Object& object, const std::string& owner,
                                const std::string& name) {
  const H5::Attribute attribute = open_attribute(file, object, owner, name);
  if (attribute.getTypeClass() != H5T_STRING || attribute.getSpace().getSimpleExtentType() != H5S_SCALAR ||
      attribute.getStrType().isVariableStr()) {
    fail("{}: attribute '{}' of {} is no text of fixed length", file.string(), name, owner);
  }
  const H5::StrType type = attribute.getStrType();
  std::string text(type.getSize(), '\0');
  attribute.read(type, text.data());
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

}  // namespace couplet
