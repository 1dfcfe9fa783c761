#include "storage/formats/state_dict.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/formats/pickle.h"
#include "storage/formats/torch_archive.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace couplet {
namespace {

using ValueKind = PickleValue::Kind;

constexpr std::string_view zip_magic = "PK\3\4";
/// How files of torch.save begin before version 1.6: a pickle of this number.
constexpr std::string_view old_magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr char pickle_member[] = "data.pkl";
/// Some 100,000 tensors.
constexpr std::uint64_t most_pickle_bytes = std::uint64_t{1} << 24;
/// Layers that share their weights stand in a state dict once each, and once in the file.
constexpr std::uint64_t most_times_shared = 64;

/// PyTorch's own limit.
constexpr std::size_t most_axes = 64;

constexpr char ordered_dict[] = "collections.OrderedDict", plain_tensor[] = "torch._utils._rebuild_tensor_v2",
               parameter[] = "torch._utils._rebuild_parameter",
               typed_dict[] = "torch.jit._pickle.restore_type_tag";  ///< of torch::pickle_save, in C++

constexpr std::array<std::pair<std::string_view, ElementType>, 7> storage_types{{
    {"torch.ByteStorage", ElementType::uint8},
    {"torch.IntStorage", ElementType::int32},
    {"torch.LongStorage", ElementType::int64},
    {"torch.HalfStorage", ElementType::float16},
    {"torch.BFloat16Storage", ElementType::bfloat16},
    {"torch.FloatStorage", ElementType::float32},
    {"torch.DoubleStorage", ElementType::float64},
}};

bool is_storage_class(std::string_view name) {
  constexpr std::string_view module = "torch.", suffix = "Storage";
  return name.starts_with(module) && name.ends_with(suffix) && name.rfind('.') == module.size() - 1;
}

/// The file's name as a text of Python.
std::string python_name(const std::filesystem::path& path) {
  return json_excerpt(utf8_text(path.filename().string()));
}

/// The file as PyTorch reads it in Python, on any machine.
std::string loaded(const std::filesystem::path& path) {
  return fmt::format("torch.load({}, map_location=\"cpu\", weights_only=True)", python_name(path));
}

/// What is to be done about a file: the line of Python that saves `expression`.
std::string saved_anew(const std::string& expression) {
  return fmt::format("write it anew, in Python: torch.save({}, \"weights.pth\")", expression);
}

/// The first bytes of a file, as many as the longest magic has.
std::string magic_bytes(const std::filesystem::path& path) {
  std::string text(old_magic.size(), '\0');
  text.resize(FileHandle::open_to_read(path).read_some(std::as_writable_bytes(std::span(text)), 0));
  return text;
}

/// Refuses archives that hold no state dict of ours.
void require_state_dict(const TorchArchive& archive, const std::filesystem::path& path) {
  if (archive.has_program())
    refuse("{}: is a TorchScript program, where the weights alone are read; {}", archive.what(),
           saved_anew(fmt::format("torch.jit.load({}, map_location=\"cpu\").state_dict()", python_name(path))));
  if (!archive.has(pickle_member))
    refuse("{}: is a zip archive that torch.save did not write: it has no {}", archive.what(), pickle_member);
  if (archive.size(pickle_member) > most_pickle_bytes)
    refuse(
        "{}: its {} has {}, where that of a state dict has {} at most; save the tensors alone: "
        "torch.save(model.state_dict(), FILE)",
        archive.what(), pickle_member, bytes_text(static_cast<std::int64_t>(archive.size(pickle_member))),
        bytes_text(static_cast<std::int64_t>(most_pickle_bytes)));
  if (!archive.has("byteorder")) return;  // since 2.1
  const std::vector<std::byte> order =
      archive.size("byteorder") > 16 ? std::vector<std::byte>() : archive.read("byteorder");
  const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
  if (text == "big") refuse("{}: was written on a big-endian machine; {}", archive.what(), saved_anew(loaded(path)));
  if (text != "little") fail("{}: is damaged: its member byteorder is neither little nor big", archive.what());
}

/// Refuses names that the pickle may not use. They are looked at, and never called.
void require_plain_name(const std::string& what, const std::string& name) {
  for (const std::string_view known : {ordered_dict, plain_tensor, parameter, typed_dict})
    if (name == known) return;
  if (is_storage_class(name)) return;
  refuse(
      "{}: names {}: nothing that a file names is run, and plain tensors alone are read (neither quantised nor sparse "
      "ones, nor objects); save those, with the program that made the file: torch.save(model.state_dict(), FILE)",
      what, json_excerpt(name));
}

/// The values of a pickle, as PyTorch means them.
class TorchValues {
public:
  explicit TorchValues(const Pickle& pickle) : pickle_(pickle) {}

  const PickleValue& top() const { return unwrapped(pickle_.top()); }
  const PickleValue& value(std::size_t number) const { return unwrapped(pickle_[number]); }
  bool is_dict(const PickleValue& value) const {
    return value.kind == ValueKind::dict || (is_call(value, ordered_dict) && arguments(value).empty());
  }
  bool is_tensor(const PickleValue& value) const { return is_call(value, plain_tensor); }
  const std::vector<std::size_t>& arguments(const PickleValue& call) const { return pickle_[call.given].items; }

  /// A tuple's whole numbers; none where it holds others, or one below 0.
  std::optional<std::vector<std::int64_t>> sizes(const PickleValue& tuple) const {
    std::vector<std::int64_t> sizes;
    if (tuple.kind != ValueKind::tuple) return std::nullopt;
    for (const std::size_t item : tuple.items) {
      if (pickle_[item].kind != ValueKind::integer || pickle_[item].integer < 0) return std::nullopt;
      sizes.push_back(pickle_[item].integer);
    }
    return sizes;
  }

  std::string kind_text(const PickleValue& value) const {
    if (is_dict(value)) return "a dict";
    if (is_tensor(value)) return "a tensor";
    switch (value.kind) {
      case ValueKind::none:
        return "None";
      case ValueKind::boolean:
        return "a truth value";
      case ValueKind::integer:
      case ValueKind::real:
        return "a number";
      case ValueKind::text:
        return "a text";
      case ValueKind::tuple:
        return "a tuple";
      case ValueKind::list:
        return "a list";
      default:
        return "an object";
    }
  }

private:
  bool is_call(const PickleValue& value, std::string_view function) const {
    return value.kind == ValueKind::call && pickle_[value.function].text == function;
  }
  /// What is in a parameter or a dict with a type: the first argument of the call that makes it, which has a smaller
  /// number.
  const PickleValue& unwrapped(const PickleValue& value) const {
    const PickleValue* inner = &value;
    while ((is_call(*inner, parameter) || is_call(*inner, typed_dict)) && !arguments(*inner).empty())
      inner = &pickle_[arguments(*inner).front()];
    return *inner;
  }

  const Pickle& pickle_;
};

/// A tensor that lies in a storage in some order.
struct StridedTensor {
  std::string what;  ///< for messages
  std::string key;   ///< of the storage
  ElementType type = ElementType::float32;
  std::int64_t stored = 0, offset = 0;  ///< elements of the storage, and before the first one
  std::vector<std::int64_t> shape, strides;
};

/// As the arguments of torch._utils._rebuild_tensor_v2 describe it: storage, offset, shape, strides, whether it has a
/// gradient, hooks, and in newer files properties.
StridedTensor strided_tensor(const std::string& what, const TorchValues& values, const PickleValue& tensor) {
  const auto require = [&](bool holds, std::string_view part) {
    if (!holds) fail("{}: is damaged: {} is not as torch.save describes it", what, part);
  };
  const std::vector<std::size_t>& given = values.arguments(tensor);
  require((given.size() == 6 || given.size() == 7) && tensor.items.empty() && !tensor.has_state, "it");
  const PickleValue& storage = values.value(given[0]);
  require(storage.kind == ValueKind::persistent, "its storage");
  const std::vector<std::size_t>& id = values.value(storage.given).items;
  require(values.value(storage.given).kind == ValueKind::tuple && id.size() == 5, "its storage");
  const PickleValue &type = values.value(id[1]), &key = values.value(id[2]), &stored = values.value(id[4]);
  require(values.value(id[0]).text == "storage" && type.kind == ValueKind::name && key.kind == ValueKind::text &&
              stored.kind == ValueKind::integer && stored.integer >= 0,
          "its storage");
  const auto* known = std::ranges::find(storage_types, type.text, &std::pair<std::string_view, ElementType>::first);
  if (known == storage_types.end())
    refuse("{}: is of {}; only uint8, int32, int64, float16, bfloat16, float32 and float64 are read", what,
           json_excerpt(type.text));
  const PickleValue& offset = values.value(given[1]);
  require(offset.kind == ValueKind::integer && offset.integer >= 0, "its offset");
  const auto shape = values.sizes(values.value(given[2])), strides = values.sizes(values.value(given[3]));
  require(shape && strides && shape->size() == strides->size() && shape->size() <= most_axes, "its shape");
  if (given.size() == 7) {
    const PickleValue& properties = values.value(given[6]);
    if (properties.kind != ValueKind::none && !properties.items.empty())
      refuse("{}: is a negated or conjugated view; save a copy: tensor.clone()", what);
  }
  return {what, key.text, known->second, stored.integer, offset.integer, *shape, *strides};
}

/// How many elements it has. Each lies in the storage, and there are no more of them than there.
std::int64_t count_elements(const StridedTensor& tensor) {
  std::int64_t count = 1, last = tensor.offset;
  bool is_expanded = false, is_inside = true;
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
    const std::int64_t extent = tensor.shape[d];
    std::int64_t way = 0;
    is_expanded = is_expanded || __builtin_mul_overflow(count, std::max<std::int64_t>(extent, 1), &count);
    is_inside = is_inside && !__builtin_mul_overflow(std::max<std::int64_t>(extent - 1, 0), tensor.strides[d], &way) &&
                !__builtin_add_overflow(last, way, &last);
  }
  const bool is_empty = std::ranges::find(tensor.shape, 0) != tensor.shape.end();
  if (is_empty && !is_expanded) return 0;
  if (!is_inside || last >= tensor.stored)
    fail("{}: is damaged: shape [{}] with strides [{}] from element {} goes beyond the {} elements that are stored",
         tensor.what, fmt::join(tensor.shape, ", "), fmt::join(tensor.strides, ", "), tensor.offset, tensor.stored);
  if (is_expanded || count > tensor.stored)
    refuse(
        "{}: shape [{}] has more elements than the {} that are stored (an expanded tensor); save a copy: "
        "tensor.contiguous()",
        tensor.what, fmt::join(tensor.shape, ", "), tensor.stored);
  return count;
}

bool is_row_major(const StridedTensor& tensor) {
  std::int64_t expected = 1;
  for (std::size_t d = tensor.shape.size(); d-- > 0;) {
    if (tensor.shape[d] != 1 && tensor.strides[d] != expected) return false;
    expected *= tensor.shape[d];
  }
  return true;
}

/// The elements in row-major order. There is one at least.
std::vector<std::byte> row_major(const StridedTensor& tensor, std::int64_t count, std::span<const std::byte> storage) {
  std::vector<std::int64_t> extents, strides;
  for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
    if (tensor.shape[d] == 1) continue;  // its stride may be anything
    extents.push_back(tensor.shape[d]);
    strides.push_back(tensor.strides[d]);
  }
  const std::size_t size = element_size(tensor.type);
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * size);
  std::vector<std::int64_t> index(extents.size());
  std::int64_t place = tensor.offset;
  for (std::size_t written = 0; written < bytes.size(); written += size) {
    std::memcpy(bytes.data() + written, storage.data() + static_cast<std::size_t>(place) * size, size);
    for (std::size_t d = extents.size(); d-- > 0;) {
      place += strides[d];
      if (++index[d] < extents[d]) break;
      place -= strides[d] * extents[d];
      index[d] = 0;
    }
  }
  return bytes;
}

/// The storages of an archive, each read when the first tensor lies in it, and the tensors in them.
class Storages {
public:
  /// Holds their bytes in `read`, and those of tensors that are not row-major there in `copies`.
  Storages(const TorchArchive& archive, std::map<std::string, std::vector<std::byte>>& read,
           std::vector<std::vector<std::byte>>& copies)
      : archive_(archive), read_(read), copies_(copies) {}

  TensorView view(const StridedTensor& tensor) {
    const std::span<const std::byte> storage = bytes_of(tensor);
    const std::int64_t count = count_elements(tensor);
    const std::size_t size = element_size(tensor.type), bytes = static_cast<std::size_t>(count) * size;
    given_ += bytes;
    if (given_ / most_times_shared > archive_.bytes())
      refuse("{}: the tensors up to this one share what is stored, and would have over {} times the file's bytes",
             tensor.what, most_times_shared);
    TensorView view{tensor.type, tensor.shape, {}};
    if (count > 0 && is_row_major(tensor))
      view.bytes = storage.subspan(static_cast<std::size_t>(tensor.offset) * size, bytes);
    else if (count > 0)
      view.bytes = copies_.emplace_back(row_major(tensor, count, storage));
    return view;
  }

private:
  std::span<const std::byte> bytes_of(const StridedTensor& tensor) {
    if (!read_.contains(tensor.key)) read(tensor);
    const std::vector<std::byte>& bytes = read_.at(tensor.key);
    const std::size_t size = element_size(tensor.type);
    if (bytes.size() % size != 0 || bytes.size() / size != static_cast<std::size_t>(tensor.stored))
      fail("{}: is damaged: its storage should hold {} elements of {}, and has {} bytes", tensor.what, tensor.stored,
           element_name(tensor.type), bytes.size());
    return bytes;
  }

  void read(const StridedTensor& tensor) {
    const std::string member = "data/" + tensor.key;
    // Several members may claim the same bytes.
    const std::uint64_t size = archive_.size(member);
    if (size > archive_.bytes() - stored_)
      fail("{}: is damaged: its storage and those before it have more bytes than the file", tensor.what);
    stored_ += size;
    read_.emplace(tensor.key, archive_.read(member));
  }

  const TorchArchive& archive_;
  std::map<std::string, std::vector<std::byte>>& read_;
  std::vector<std::vector<std::byte>>& copies_;
  std::uint64_t stored_ = 0, given_ = 0;  ///< bytes of all storages, and of all tensors
};

/// Of the dict that a pickle is of, by name.
using Entries = std::vector<std::pair<std::string, const PickleValue*>>;

/// Refuses a dict that holds dicts, with the keys that lead to tensors.
void require_flat(const std::string& what, const std::filesystem::path& path, const TorchValues& values,
                  const Entries& entries) {
  std::vector<std::string> keys, with_tensors;
  bool is_nested = false;
  for (const auto& [name, value] : entries) {
    keys.push_back(json_excerpt(name, 40));
    if (!values.is_dict(*value)) continue;
    is_nested = true;
    for (std::size_t i = 1; i < value->items.size(); i += 2)
      if (values.is_tensor(values.value(value->items[i]))) {
        with_tensors.push_back(keys.back());
        break;
      }
  }
  if (!is_nested) return;
  constexpr std::size_t shown = 12;
  const std::string more = keys.size() > shown ? fmt::format(" and {} more", keys.size() - shown) : "";
  keys.resize(std::min(keys.size(), shown));
  if (with_tensors.empty())
    refuse(
        "{}: is a dict of {}{}, where tensors by name are expected; save those alone: "
        "torch.save(model.state_dict(), FILE)",
        what, fmt::join(keys, ", "), more);
  with_tensors.resize(std::min(with_tensors.size(), shown));
  refuse(
      "{}: is a dict of {}{}, where tensors by name are expected; there are tensors in {}. Take one of these, and {}",
      what, fmt::join(keys, ", "), more, fmt::join(with_tensors, ", "),
      saved_anew(fmt::format("{}[{}]", loaded(path), with_tensors.front())));
}

/// The entries of the dict that the pickle is of, by name.
Entries named_values(const std::string& what, const TorchValues& values) {
  const PickleValue& top = values.top();
  if (!values.is_dict(top))
    refuse("{}: holds {}, where a dict of tensors by name is expected: torch.save(model.state_dict(), FILE)", what,
           values.kind_text(top));
  Entries entries;
  for (std::size_t i = 0; i + 1 < top.items.size(); i += 2) {
    const PickleValue& key = values.value(top.items[i]);
    if (key.kind != ValueKind::text)
      refuse("{}: has {} for a key, where names of tensors are expected: torch.save(model.state_dict(), FILE)", what,
             values.kind_text(key));
    entries.emplace_back(key.text, &values.value(top.items[i + 1]));
  }
  return entries;
}

/// Calls `use(archive, values, entries)` for the state dict that the file holds; no tensor has been read by then.
template <class Use>
void with_entries(const std::filesystem::path& path, const Use& use) {
  if (magic_bytes(path) == old_magic)
    refuse("{}: is in the form that PyTorch wrote before version 1.6, which is not read; {}", utf8_text(path.string()),
           saved_anew(loaded(path)));
  const TorchArchive archive(path);
  require_state_dict(archive, path);
  const std::vector<std::byte> program = archive.read(pickle_member);
  const Pickle pickle(fmt::format("{}: {}", archive.what(), pickle_member),
                      {reinterpret_cast<const char*>(program.data()), program.size()},
                      [&](const std::string& name) { require_plain_name(archive.what(), name); });
  const TorchValues values(pickle);
  const Entries entries = named_values(archive.what(), values);
  require_flat(archive.what(), path, values, entries);
  use(archive, values, entries);
}

}  // namespace

TorchFile torch_file(const std::filesystem::path& path) {
  const std::string start = magic_bytes(path);
  if (start == old_magic) return TorchFile::tensors;
  if (!start.starts_with(zip_magic)) return TorchFile::none;
  try {
    const TorchArchive archive(path);
    return archive.has(pickle_member) && !archive.has_program() ? TorchFile::tensors : TorchFile::other_archive;
  } catch (const Error&) {
    return TorchFile::other_archive;  // whoever reads it says what is wrong
  }
}

void require_state_dict(const std::filesystem::path& path) {
  with_entries(path, [](const TorchArchive&, const TorchValues&, const Entries&) {});
}

StateDict::StateDict(const std::filesystem::path& path) {
  with_entries(path, [this](const TorchArchive& archive, const TorchValues& values, const Entries& entries) {
    Storages storages(archive, storages_, copies_);
    for (const auto& [name, value] : entries) {
      const std::string what = fmt::format("{}: tensor {}", archive.what(), json_excerpt(name));
      if (!values.is_tensor(*value)) refuse("{}: is {}, and no tensor", what, values.kind_text(*value));
      if (!tensors_.emplace(name, storages.view(strided_tensor(what, values, *value))).second)
        fail("{}: is damaged: it stands there twice", what);
    }
  });
}

}  // namespace couplet
