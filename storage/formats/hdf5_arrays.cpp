#include "storage/formats/foreign_array.h"
#include "storage/formats/hdf5_access.h"

#include <algorithm>
#include <optional>

namespace couplet {
namespace {

/// Of the type that little-endian memory of the same numbers has; nothing for what is no plain number.
std::optional<H5::DataType> memory_type(NumberType type) {
  if (type.kind == 'f') {
    if (type.bytes == 2) return hdf5_type(ElementType::float16);
    if (type.bytes == 4) return hdf5_type(ElementType::float32);
    if (type.bytes == 8) return hdf5_type(ElementType::float64);
    return std::nullopt;
  }
  const bool has_sign = type.kind == 'i';
  switch (type.bytes) {
    case 1:
      return has_sign ? H5::PredType::STD_I8LE : H5::PredType::STD_U8LE;
    case 2:
      return has_sign ? H5::PredType::STD_I16LE : H5::PredType::STD_U16LE;
    case 4:
      return has_sign ? H5::PredType::STD_I32LE : H5::PredType::STD_U32LE;
    case 8:
      return has_sign ? H5::PredType::STD_I64LE : H5::PredType::STD_U64LE;
    default:
      return std::nullopt;
  }
}

/// The type of a data set's numbers, in either byte order.
NumberType number_type(const std::string& what, const H5::DataSet& set) {
  const H5T_class_t kind = set.getTypeClass();
  NumberType type{'f', set.getDataType().getSize()};
  if (kind == H5T_INTEGER) type.kind = set.getIntType().getSign() == H5T_SGN_NONE ? 'u' : 'i';
  const auto memory = kind == H5T_INTEGER || kind == H5T_FLOAT ? memory_type(type) : std::nullopt;
  // A float of two bytes may also be bfloat16, whose numbers are others.
  const bool is_half = type.kind != 'f' || type.bytes != 2 || set.getFloatType().getEbias() == 15;
  if (!memory || !is_half)
    fail("{}: has elements that are no plain integers or IEEE floats (HDF5 class {}, {} bytes)", what,
         static_cast<int>(kind), type.bytes);
  return type;
}

std::vector<std::int64_t> shape_of(const H5::DataSet& set) {
  const H5::DataSpace space = set.getSpace();
  std::vector<hsize_t> extents(static_cast<std::size_t>(std::max(space.getSimpleExtentNdims(), 0)));
  if (!extents.empty()) space.getSimpleExtentDims(extents.data());
  return {extents.begin(), extents.end()};
}

class Hdf5Array : public ForeignArray {
public:
  Hdf5Array(std::filesystem::path path, const std::string& name, const H5::DataSet& set)
      : ForeignArray(number_type(fmt::format("{}: data set '{}'", path.string(), name), set), shape_of(set)),
        path_(std::move(path)),
        name_(name),
        set_(std::make_unique<H5::DataSet>(set)) {}
  ~Hdf5Array() override {
    const Hdf5Lock lock;
    set_.reset();
  }

  void read_next(std::int64_t count, std::span<std::byte> out) override {
    with_hdf5(path_, fmt::format("read data set '{}'", name_), [&] {
      std::vector<hsize_t> start(shape().size(), 0), extents(shape().begin(), shape().end());
      start[0] = static_cast<hsize_t>(next_);
      extents[0] = static_cast<hsize_t>(count);
      const H5::DataSpace file = set_->getSpace();
      file.selectHyperslab(H5S_SELECT_SET, extents.data(), start.data());
      set_->read(out.data(), *memory_type(type()), H5::DataSpace(static_cast<int>(extents.size()), extents.data()),
                 file);
    });
    next_ += count;
  }

private:
  std::filesystem::path path_;
  std::string name_;
  std::unique_ptr<H5::DataSet> set_;
  std::int64_t next_ = 0;
};

/// Every call of the library, closing included, is made under its lock.
class Hdf5File : public ForeignFile {
public:
  explicit Hdf5File(std::filesystem::path path) : path_(std::move(path)) {
    with_hdf5(path_, "open it as an HDF5 file", [&] {
      file_ = std::make_unique<H5::H5File>(path_.string(), H5F_ACC_RDONLY, H5::FileCreatPropList::DEFAULT,
                                           foreign_file_access());
    });
  }
  ~Hdf5File() override {
    const Hdf5Lock lock;
    file_.reset();
  }

  std::vector<std::string> names() const override {
    return with_hdf5(path_, "list its data sets", [&] {
      std::vector<std::string> names;
      for (hsize_t i = 0; i < file_->getNumObjs(); ++i)
        if (file_->getObjTypeByIdx(i) == H5G_DATASET) names.push_back(file_->getObjnameByIdx(i));
      return names;
    });
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    return with_hdf5(path_, fmt::format("open data set '{}'", name), [&]() -> std::unique_ptr<ForeignArray> {
      return std::make_unique<Hdf5Array>(path_, name, file_->openDataSet(name));
    });
  }

private:
  std::filesystem::path path_;
  std::unique_ptr<H5::H5File> file_;
};

}  // namespace

std::unique_ptr<ForeignFile> open_hdf5(const std::filesystem::path& path) {
  return std::make_unique<Hdf5File>(path);
}

}  // namespace couplet
