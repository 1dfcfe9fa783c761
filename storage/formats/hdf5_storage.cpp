#include "storage/formats/hdf5_storage.h"

#include "storage/deflate.h"
#include "storage/formats/hdf5_access.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <vector>

namespace couplet {
namespace {

/// Virtual data sets of virtual data sets are followed to this depth; they may go in a circle.
constexpr int deepest_source = 8;
constexpr std::size_t longest_name = 4096;

using NameBuffer = std::array<char, longest_name + 1>;

std::vector<hsize_t> extents_of(const H5::DataSpace& space) {
  std::vector<hsize_t> extents(static_cast<std::size_t>(std::max(space.getSimpleExtentNdims(), 0)));
  if (!extents.empty()) space.getSimpleExtentDims(extents.data());
  return extents;
}

/// One data set and what is looked up of it again and again.
struct Stored {
  const std::filesystem::path& file;
  std::string what;
  const H5::DataSet& set;
  H5::DSetCreatPropList creation = set.getCreatePlist();
  int depth = 0;  ///< how many virtual data sets lead to it
};

/// The bytes of that many elements of the data set. More than any file has are refused.
std::uint64_t bytes_of(const Stored& stored, const std::vector<hsize_t>& extents) {
  std::uint64_t bytes = stored.set.getDataType().getSize();
  for (const hsize_t extent : extents)
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      refuse("{}: has the impossible shape [{}]", stored.what, fmt::join(extents, ", "));
  return bytes;
}

/// Refuses a data set whose bytes, in all or at once, are more than those of the file can hold: the library would take
/// memory for them.
void require_held(const Stored& stored, std::uint64_t claimed, std::uint64_t most) {
  if (claimed > most)
    refuse("{}: is damaged: it claims {} bytes, and what holds them in the file has room for {}", stored.what, claimed,
           most);
}

void require_filters(const Stored& stored) {
  const int filters = checked(H5Pget_nfilters(stored.creation.getId()), "H5Pget_nfilters");
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    std::array<char, 64> name{};
    const H5Z_filter_t filter = checked(H5Pget_filter2(stored.creation.getId(), static_cast<unsigned>(i), &flags,
                                                       &values, nullptr, name.size() - 1, name.data(), nullptr),
                                        "H5Pget_filter2");
    if (H5Zfilter_avail(filter) <= 0)
      refuse(
          "{}: its values went through filter {} ('{}'), which this HDF5 library does not have; write it with gzip or "
          "without a filter",
          stored.what, filter, name.data());
  }
}

void require_chunks(const Stored& stored) {
  const H5::DataSpace space = stored.set.getSpace();
  const std::vector<hsize_t> extents = extents_of(space);
  std::vector<hsize_t> chunk(extents.size());
  checked(H5Pget_chunk(stored.creation.getId(), static_cast<int>(chunk.size()), chunk.data()), "H5Pget_chunk");
  if (std::ranges::find(chunk, 0) != chunk.end())
    refuse("{}: has impossible chunks of [{}]", stored.what, fmt::join(chunk, ", "));
  const std::uint64_t bytes = bytes_of(stored, extents);
  hsize_t expected = 1, written = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) expected *= extents[i] / chunk[i] + (extents[i] % chunk[i] != 0);
  checked(H5Dget_num_chunks(stored.set.getId(), space.getId(), &written), "H5Dget_num_chunks");
  if (written < expected)
    refuse("{}: {} of its {} chunks were never written", stored.what, expected - written, expected);
  // Deflate packs closest of the filters that anybody uses.
  const std::uint64_t most = most_inflated_bytes(std::filesystem::file_size(stored.file));
  require_held(stored, bytes, most);
  require_held(stored, bytes_of(stored, chunk), most);
}

/// The files of raw values, each of which holds the next values from an offset on.
void require_raw_files(const Stored& stored, int files) {
  NameBuffer prefix{};
  const Hdf5Handle access(H5Dget_access_plist(stored.set.getId()), "H5Dget_access_plist");
  checked(H5Pget_efile_prefix(access.id(), prefix.data(), longest_name), "H5Pget_efile_prefix");
  std::uint64_t left = stored.set.getInMemDataSize();
  for (int i = 0; i < files && left > 0; ++i) {
    NameBuffer name{};
    off_t offset = 0;
    hsize_t size = 0;
    checked(
        H5Pget_external(stored.creation.getId(), static_cast<unsigned>(i), longest_name, name.data(), &offset, &size),
        "H5Pget_external");
    const std::filesystem::path path = std::filesystem::path(prefix.data()) / name.data();
    const std::uint64_t here = std::min<std::uint64_t>(size, left);
    std::error_code error;
    const std::uint64_t there = std::filesystem::file_size(path, error);
    if (error) refuse("{}: its values lie in the file '{}', which is not there", stored.what, path.string());
    if (there < static_cast<std::uint64_t>(offset) || there - static_cast<std::uint64_t>(offset) < here)
      refuse("{}: its values lie in the file '{}', which has {} bytes; expected {} from byte {} on", stored.what,
             path.string(), there, here, offset);
    left -= here;
  }
  if (left > 0) refuse("{}: the files that hold its values lack {} bytes", stored.what, left);
}

void require_contiguous(const Stored& stored) {
  const int files = checked(H5Pget_external_count(stored.creation.getId()), "H5Pget_external_count");
  if (files > 0) return require_raw_files(stored, files);
  const std::uint64_t offset = H5Dget_offset(stored.set.getId()), size = std::filesystem::file_size(stored.file);
  if (offset == HADDR_UNDEF) refuse("{}: its values were never written", stored.what);
  require_held(stored, bytes_of(stored, extents_of(stored.set.getSpace())), size - std::min(size, offset));
}

void require_values(const Stored& stored);

/// Finds the file of a virtual data set's source where the library looks for it: in the folder HDF5_VDS_PREFIX, beside
/// the file that names it, in the current folder. A file that has moved with them is found by its name alone.
std::optional<std::filesystem::path> find_source_file(const std::filesystem::path& file,
                                                      const std::filesystem::path& name) {
  if (name == ".") return file;
  const char* prefix = std::getenv("HDF5_VDS_PREFIX");
  const std::filesystem::path below = name.is_absolute() ? name.filename() : name;
  for (const std::filesystem::path& path :
       {name.is_absolute() ? name : std::filesystem::path(prefix ? prefix : "") / below, file.parent_path() / below,
        below})
    if (std::error_code error; std::filesystem::is_regular_file(path, error)) return path;
  return std::nullopt;
}

/// One source of a virtual data set.
struct Source {
  std::string file, name;
  H5::DataSpace selection;  ///< the values that are taken
  hssize_t values;          ///< how many they are; negative: as many as there are
};

Source source_of(const Stored& stored, std::size_t number) {
  NameBuffer file{}, name{};
  const hid_t creation = stored.creation.getId();
  checked(H5Pget_virtual_filename(creation, number, file.data(), longest_name), "H5Pget_virtual_filename");
  checked(H5Pget_virtual_dsetname(creation, number, name.data(), longest_name), "H5Pget_virtual_dsetname");
  const Hdf5Handle selection(H5Pget_virtual_srcspace(creation, number), "H5Pget_virtual_srcspace");
  const Hdf5Handle place(H5Pget_virtual_vspace(creation, number), "H5Pget_virtual_vspace");
  return {file.data(), name.data(), H5::DataSpace(selection.id()), H5Sget_select_npoints(place.id())};
}

/// Tells whether a selection reaches beyond the source, where the library reads fill values. One of all values has no
/// extents of its own.
bool reaches_beyond(const Source& source, const H5::DataSpace& there) {
  if (H5Sget_select_type(source.selection.getId()) == H5S_SEL_ALL)
    return there.getSimpleExtentNpoints() < source.values;
  const std::vector<hsize_t> extents = extents_of(there);
  std::vector<hsize_t> first(extents.size()), last(extents.size());
  if (extents_of(source.selection).size() != extents.size()) return true;
  if (extents.empty()) return false;
  source.selection.getSelectBounds(first.data(), last.data());
  return !std::ranges::equal(last, extents, std::ranges::less());
}

void require_source(const Stored& stored, const Source& source) {
  const std::string what = fmt::format("{}: its source '{}' in the file '{}'", stored.what, source.name, source.file);
  const auto path = find_source_file(stored.file, source.file);
  if (!path) refuse("{} is not there: there is no such file", what);
  std::optional<H5::H5File> file;
  std::optional<H5::DataSet> set;
  try {
    file.emplace(path->string(), H5F_ACC_RDONLY, H5::FileCreatPropList::DEFAULT, foreign_file_access());
    set.emplace(file->openDataSet(source.name));
  } catch (const H5::Exception&) {
    refuse("{} is not there, or cannot be opened", what);
  }
  const Stored inner{.file = *path, .what = what, .set = *set, .depth = stored.depth + 1};
  if (reaches_beyond(source, set->getSpace()) || set->getSpace().getSimpleExtentNpoints() < source.values)
    refuse("{}: has shape [{}], too short for what is taken from it", what,
           fmt::join(extents_of(set->getSpace()), ", "));
  require_values(inner);
}

void require_sources(const Stored& stored) {
  if (stored.depth >= deepest_source) refuse("{}: is a virtual data set whose sources go in a circle", stored.what);
  std::size_t sources = 0;
  checked(H5Pget_virtual_count(stored.creation.getId(), &sources), "H5Pget_virtual_count");
  hssize_t left = stored.set.getSpace().getSimpleExtentNpoints();
  for (std::size_t i = 0; i < sources; ++i) {
    const Source source = source_of(stored, i);
    if (source.values < 0)
      refuse("{}: is a virtual data set with sources of any length; write it as a plain one", stored.what);
    left -= source.values;
    require_source(stored, source);
  }
  if (left > 0) refuse("{}: is a virtual data set, and {} of its values have no source", stored.what, left);
}

void require_values(const Stored& stored) {
  if (stored.set.getSpace().getSimpleExtentNpoints() == 0) return;
  switch (checked(H5Pget_layout(stored.creation.getId()), "H5Pget_layout")) {
    case H5D_CHUNKED:
      require_filters(stored);
      return require_chunks(stored);
    case H5D_CONTIGUOUS:
      return require_contiguous(stored);
    case H5D_VIRTUAL:
      return require_sources(stored);
    default:  // compact: in the data set's own header
      return require_held(stored, bytes_of(stored, extents_of(stored.set.getSpace())), stored.set.getStorageSize());
  }
}

}  // namespace

void require_stored(const std::filesystem::path& file, const std::string& what, const H5::DataSet& set) {
  require_values({.file = file, .what = what, .set = set});
}

}  // namespace couplet
