#include "storage/formats/foreign_array.h"
#include "storage/formats/hdf5_access.h"
#include "storage/formats/hdf5_lzf.h"
#include "storage/formats/hdf5_rehearsal.h"
#include "storage/formats/hdf5_storage.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

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

/// What elements of a class that holds no plain numbers are called.
std::string_view class_name(H5T_class_t kind) {
  switch (kind) {
    case H5T_STRING:
      return "texts";
    case H5T_BITFIELD:
      return "bit fields";
    case H5T_OPAQUE:
      return "opaque elements";
    case H5T_COMPOUND:
      return "records";
    case H5T_REFERENCE:
      return "references";
    case H5T_ENUM:
      return "names of an enumeration (truth values, for h5py)";
    case H5T_VLEN:
      return "lists";
    case H5T_ARRAY:
      return "arrays";
    default:
      return "numbers";
  }
}

/// The type of a data set's numbers, in either byte order; nothing if they are no plain numbers.
std::optional<NumberType> number_type(const H5::DataSet& set) {
  NumberType type{'f', set.getDataType().getSize()};
  switch (set.getTypeClass()) {
    case H5T_INTEGER:
      type.kind = set.getIntType().getSign() == H5T_SGN_NONE ? 'u' : 'i';
      break;
    case H5T_FLOAT:
      // A float of two bytes may also be bfloat16, whose numbers are others.
      if (type.bytes == 2 && set.getFloatType().getEbias() != 15) return std::nullopt;
      break;
    default:
      return std::nullopt;
  }
  return memory_type(type) ? std::optional(type) : std::nullopt;
}

NumberType require_numbers(const std::string& what, const H5::DataSet& set) {
  if (const auto type = number_type(set)) return *type;
  refuse("{}: holds {} of {} bytes, which are no plain integers or IEEE floats of 2, 4 or 8 bytes", what,
         class_name(set.getTypeClass()), set.getDataType().getSize());
}

std::vector<std::uint64_t> shape_of(const std::string& what, const H5::DataSet& set) {
  const H5::DataSpace space = set.getSpace();
  if (space.getSimpleExtentType() == H5S_NULL) refuse("{}: is empty: it has neither values nor a shape", what);
  std::vector<hsize_t> extents(static_cast<std::size_t>(space.getSimpleExtentNdims()));
  if (!extents.empty()) space.getSimpleExtentDims(extents.data());
  return {extents.begin(), extents.end()};
}

/// True where a row can be read without its neighbours: values that lie together unpacked, and chunks of one row.
bool packs_no_rows_together(const H5::DataSet& set) {
  const H5::DSetCreatPropList made = set.getCreatePlist();
  if (made.getLayout() == H5D_CONTIGUOUS || made.getLayout() == H5D_COMPACT) return true;
  if (made.getLayout() != H5D_CHUNKED) return false;
  std::vector<hsize_t> chunk(static_cast<std::size_t>(set.getSpace().getSimpleExtentNdims()));
  made.getChunk(static_cast<int>(chunk.size()), chunk.data());
  return !chunk.empty() && chunk.front() == 1;
}

class Hdf5Array : public ForeignArray {
public:
  /// Called under the lock, which its destructor takes: whoever makes one may not throw afterwards.
  Hdf5Array(std::filesystem::path path, const std::string& what, std::string name, NumberType type,
            const H5::DataSet& set)
      : ForeignArray(what, type, shape_of(what, set)),
        path_(std::move(path)),
        name_(std::move(name)),
        set_(std::make_unique<H5::DataSet>(set)),
        is_direct_(packs_no_rows_together(set)) {}
  ~Hdf5Array() override {
    const Hdf5Lock lock;
    set_.reset();
  }
  bool is_direct() const override { return is_direct_; }

private:
  void read_rows(std::int64_t first, std::int64_t count, std::span<std::byte> out) override {
    with_hdf5(path_, fmt::format("read data set '{}'", name_), [&] {
      const H5::DataSpace file = set_->getSpace();
      std::vector<hsize_t> start(shape().size(), 0), extents(shape().begin(), shape().end());
      if (extents.empty()) return set_->read(out.data(), *memory_type(type()));
      start[0] = static_cast<hsize_t>(first);
      extents[0] = static_cast<hsize_t>(count);
      file.selectHyperslab(H5S_SELECT_SET, extents.data(), start.data());
      set_->read(out.data(), *memory_type(type()), H5::DataSpace(static_cast<int>(extents.size()), extents.data()),
                 file);
    });
  }

  std::filesystem::path path_;
  std::string name_;
  std::unique_ptr<H5::DataSet> set_;
  bool is_direct_ = false;
};

/// What a link that leads nowhere says.
std::string dangling_text(const H5::Group& root, const std::string& name, const H5L_info_t& link) {
  std::vector<char> value(link.type == H5L_TYPE_HARD ? 0 : link.u.val_size + 1, '\0');
  if (link.type == H5L_TYPE_HARD) return "an object that cannot be opened";
  checked(H5Lget_val(root.getId(), name.c_str(), value.data(), value.size(), H5P_DEFAULT), "H5Lget_val");
  if (link.type == H5L_TYPE_SOFT) return fmt::format("a link to '{}', where there is nothing", value.data());
  const char *file = nullptr, *object = nullptr;
  if (link.type != H5L_TYPE_EXTERNAL || H5Lunpack_elink_val(value.data(), link.u.val_size, nullptr, &file, &object) < 0)
    return "a link of a kind that cannot be followed";
  return fmt::format("a link to '{}' in the file '{}', which cannot be followed", object, file);
}

constexpr const char* a_group = "a group";

/// Says what a link of the root leads to, where that is no data set; "" for a data set.
std::string other_kind(const H5::Group& root, const std::string& name) {
  H5L_info_t link;
  checked(H5Lget_info(root.getId(), name.c_str(), &link, H5P_DEFAULT), "H5Lget_info");
  try {
    switch (root.childObjType(name)) {
      case H5O_TYPE_DATASET:
        return "";
      case H5O_TYPE_GROUP:
        return a_group;
      default:
        return "a named type";
    }
  } catch (const H5::Exception&) {
    return dangling_text(root, name, link);
  }
}

/// The library calls it for each link. It is C: an exception must not pass through it.
herr_t note_link(hid_t, const char* name, const H5L_info_t*, void* links) {
  try {
    static_cast<std::vector<std::string>*>(links)->emplace_back(name);
    return 0;
  } catch (const std::bad_alloc&) {
    return -1;
  }
}

/// The names of a group's links. To ask for one after the other by its number would look at all before it.
std::vector<std::string> own_links(const H5::Group& group) {
  std::vector<std::string> links;
  hsize_t first = 0;
  checked(H5Literate(group.getId(), H5_INDEX_NAME, H5_ITER_NATIVE, &first, note_link, &links), "H5Literate");
  return links;
}

/// The paths of all links in a group and in the groups below it, each of which is visited once.
std::vector<std::string> visited_links(const H5::Group& group) {
  std::vector<std::string> links;
  checked(H5Lvisit(group.getId(), H5_INDEX_NAME, H5_ITER_NATIVE, note_link, &links), "H5Lvisit");
  return links;
}

/// The library keeps up to 32 MiB of a file's metadata, counted as they are in the file: of a file of many small data
/// sets ten times as much memory. Hardly anything here is asked for twice, but the names of a large group.
H5::FileAccPropList access_of_arrays() {
  H5::FileAccPropList access = foreign_file_access();
  H5AC_cache_config_t config;
  config.version = H5AC__CURR_CACHE_CONFIG_VERSION;
  checked(H5Pget_mdc_config(access.getId(), &config), "H5Pget_mdc_config");
  config.set_initial_size = true;
  config.initial_size = config.min_size = std::size_t{1} << 20;
  config.max_size = std::size_t{8} << 20;
  checked(H5Pset_mdc_config(access.getId(), &config), "H5Pset_mdc_config");
  return access;
}

/// Every call of the library, closing included, is made under its lock.
class Hdf5File : public ForeignFile {
public:
  explicit Hdf5File(std::filesystem::path path) : path_(std::move(path)) {
    with_hdf5(path_, "open it as an HDF5 file", [&] {
      register_lzf_filter();
      file_ = std::make_unique<H5::H5File>(path_.string(), H5F_ACC_RDONLY, H5::FileCreatPropList::DEFAULT,
                                           access_of_arrays());
    });
  }
  ~Hdf5File() override {
    const Hdf5Lock lock;
    file_.reset();
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, other] : links())
      if (other.empty()) names.push_back(name);
    return names;
  }
  std::map<std::string, std::string> others() const override {
    std::map<std::string, std::string> others = links();
    std::erase_if(others, [](const auto& link) { return link.second.empty(); });
    return others;
  }
  /// The paths of all data sets, in groups too: "0/source".
  std::vector<std::string> paths() const {
    return with_hdf5(path_, "list its data sets", [&] {
      const H5::Group root = file_->openGroup("/");
      std::vector<std::string> paths = visited_links(root);
      std::erase_if(paths, [&](const std::string& path) { return !other_kind(root, path).empty(); });
      return paths;
    });
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    const std::string what = fmt::format("{}: data set '{}'", path_.string(), name);
    return with_hdf5(path_, fmt::format("open data set '{}'", name), [&]() -> std::unique_ptr<ForeignArray> {
      const H5::DataSet set = file_->openDataSet(name);
      const NumberType type = require_numbers(what, set);
      require_stored(path_, what, set);
      return std::make_unique<Hdf5Array>(path_, what, name, type, set);
    });
  }

private:
  /// The links of the root group; with each that leads to no data set, what it leads to.
  std::map<std::string, std::string> links() const {
    return with_hdf5(path_, "list its data sets", [&] {
      std::map<std::string, std::string> links;
      const H5::Group root = file_->openGroup("/");
      for (const std::string& name : own_links(root)) links[name] = other_kind(root, name);
      return links;
    });
  }

  std::filesystem::path path_;
  std::unique_ptr<H5::H5File> file_;
};

constexpr std::size_t bytes_at_once = std::size_t{1} << 20;

/// Reads an array to its end.
void read_all(ForeignArray& array) {
  const std::size_t row_bytes = array.row_bytes();
  if (row_bytes == 0) return;
  const auto at_once = static_cast<std::int64_t>(bytes_at_once / row_bytes + 1);
  for (std::int64_t left = array.rows(); left > 0; left -= at_once) {
    std::vector<std::byte> rows(static_cast<std::size_t>(std::min(at_once, left)) * row_bytes);
    array.read_next(std::min(at_once, left), rows);
  }
}

/// The file, opened here after every step has been tried in a child process.
class RehearsedFile : public ForeignFile {
public:
  explicit RehearsedFile(const std::filesystem::path& path) : path_(path) {
    rehearse(path, "list its data sets", [&] { static_cast<void>(Hdf5File(path).names()); });
    file_ = std::make_unique<Hdf5File>(path);
  }

  std::vector<std::string> names() const override { return file_->names(); }
  std::map<std::string, std::string> others() const override { return file_->others(); }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    rehearse(path_, fmt::format("read data set '{}'", name), [&] { read_all(*Hdf5File(path_).open(name)); });
    return file_->open(name);
  }

private:
  std::filesystem::path path_;
  std::unique_ptr<Hdf5File> file_;
};

/// The same with the data sets of all groups. They may be so many that all of them are tried at once.
class RehearsedTree : public ForeignFile {
public:
  explicit RehearsedTree(const std::filesystem::path& path) {
    rehearse(path, "read its data sets", [&] {
      Hdf5File file(path);
      for (const std::string& name : file.paths()) {
        try {
          read_all(*file.open(name));
        } catch (const Error&) {  // it is told to whoever opens this one
        }
      }
    });
    file_ = std::make_unique<Hdf5File>(path);
    names_ = file_->paths();
  }

  std::vector<std::string> names() const override { return names_; }
  std::map<std::string, std::string> others() const override {
    std::map<std::string, std::string> others = file_->others();
    std::erase_if(others, [](const auto& other) { return other.second == a_group; });
    return others;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override { return file_->open(name); }

private:
  std::unique_ptr<Hdf5File> file_;
  std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<ForeignFile> open_hdf5_tree(const std::filesystem::path& path) {
  return std::make_unique<RehearsedTree>(path);
}

std::unique_ptr<ForeignFile> open_hdf5(const std::filesystem::path& path) {
  return std::make_unique<RehearsedFile>(path);
}

}  // namespace couplet
