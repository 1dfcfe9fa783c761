#include "storage/formats/safetensors.h"

#include "storage/error.h"
#include "storage/files/file_handle.h"
#include "storage/json_text.h"
#include "storage/text.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace couplet {
namespace {

using nlohmann::json;

constexpr std::string_view metadata_key = "__metadata__";
constexpr std::size_t prefix_bytes = 8;
/// The format's own limit on the header.
constexpr std::uint64_t largest_header = 100'000'000;
/// The header, a tensor, and its list of extents.
constexpr int header_levels = 3;

constexpr std::array<std::pair<ElementType, std::string_view>, 7> type_codes{{
    {ElementType::uint8, "U8"},
    {ElementType::int32, "I32"},
    {ElementType::int64, "I64"},
    {ElementType::float16, "F16"},
    {ElementType::bfloat16, "BF16"},
    {ElementType::float32, "F32"},
    {ElementType::float64, "F64"},
}};

std::string_view type_code(ElementType type) {
  return std::ranges::find(type_codes, type, &std::pair<ElementType, std::string_view>::first)->second;
}

/// Bytes of a tensor; false if the product overflows or an extent is negative.
bool tensor_bytes(ElementType type, const std::vector<std::int64_t>& shape, std::uint64_t& bytes) {
  bytes = element_size(type);
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) return false;
  }
  return true;
}

/// The JSON header for tensors laid out one after another in the map's order, padded to a multiple of 8 bytes.
std::string make_header(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header[std::string(metadata_key)] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (name == metadata_key) fail("{}: a tensor cannot be named '{}'", path.string(), name);
    std::uint64_t expected = 0;
    if (!tensor_bytes(tensor.type, tensor.shape, expected) || expected != tensor.bytes.size()) {
      fail("{}: tensor '{}' of type {} and shape [{}] was given {} bytes, expected {}", path.string(), name,
           element_name(tensor.type), fmt::join(tensor.shape, ", "), tensor.bytes.size(), expected);
    }
    header[name] = {
        {"dtype", type_code(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + expected}}};
    offset += expected;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    fail("{}: a tensor's name or a value of its metadata is no UTF-8 text", path.string());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > largest_header) {
    fail("{}: the header would have {} bytes, the format allows {}", path.string(), text.size(), largest_header);
  }
  return text;
}

/// The bytes of the header, as the first bytes of a file of `file_bytes` say.
std::uint64_t header_size(const std::filesystem::path& path, std::span<const std::byte> first,
                          std::uint64_t file_bytes) {
  if (first.size() < prefix_bytes)
    fail("{}: is no safetensors file: {} bytes, expected at least {}", path.string(), first.size(), prefix_bytes);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < prefix_bytes; ++i) bytes |= std::to_integer<std::uint64_t>(first[i]) << (8 * i);
  if (bytes > largest_header || bytes > file_bytes - prefix_bytes)
    fail("{}: truncated or no safetensors file: a header of {} bytes is announced, {} bytes follow", path.string(),
         bytes, file_bytes - prefix_bytes);
  return bytes;
}

/// Parses the header; a name that stands twice is an error rather than a silent loss.
json parse_header(const std::filesystem::path& path, std::string_view text) {
  json header = parse_json(text, fmt::format("{}: the header of a safetensors file", path.string()), header_levels);
  if (!header.is_object()) fail("{}: its header is no JSON object; it is no safetensors file", path.string());
  return header;
}

ElementType parse_type_code(const std::filesystem::path& path, const std::string& name, const std::string& code) {
  for (const auto& [type, known] : type_codes) {
    if (known == code) return type;
  }
  fail("{}: tensor '{}' has type {}; only U8, I32, I64, F16, BF16, F32 and F64 are read", path.string(), name,
       json_excerpt(code));
}

bool is_list_of_sizes(const json& value) {
  return value.is_array() && std::ranges::all_of(value, [](const json& item) { return item.is_number_unsigned(); });
}

/// One tensor of the header, checked against its own range and the `data` that follow the header.
TensorView parse_tensor(const std::filesystem::path& path, const std::string& name, const json& entry,
                        std::span<const std::byte> data) {
  const bool whole = entry.is_object() && entry.contains("dtype") && entry["dtype"].is_string() &&
                     entry.contains("shape") && is_list_of_sizes(entry["shape"]) && entry.contains("data_offsets") &&
                     is_list_of_sizes(entry["data_offsets"]) && entry["data_offsets"].size() == 2;
  if (!whole) {
    fail("{}: tensor '{}': expected dtype, shape and two data_offsets, found {}", path.string(), name,
         json_excerpt(entry));
  }
  TensorView tensor;
  tensor.type = parse_type_code(path, name, entry["dtype"].get<std::string>());
  tensor.shape = entry["shape"].get<std::vector<std::int64_t>>();
  const auto begin = entry["data_offsets"][0].get<std::uint64_t>();
  const auto end = entry["data_offsets"][1].get<std::uint64_t>();
  std::uint64_t expected = 0;
  if (!tensor_bytes(tensor.type, tensor.shape, expected) || begin > end || end - begin != expected) {
    fail("{}: tensor '{}' of type {} and shape [{}] has the range {} to {}, expected {} bytes", path.string(), name,
         element_name(tensor.type), fmt::join(tensor.shape, ", "), begin, end, expected);
  }
  if (end > data.size()) {
    fail("{}: truncated: tensor '{}' ends at byte {} of the data, the file holds {}", path.string(), name, end,
         data.size());
  }
  tensor.bytes = data.subspan(begin, expected);
  return tensor;
}

/// Ranges must follow each other without gap or overlap and end where the file ends.
void check_ranges(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                  std::span<const std::byte> data) {
  std::vector<std::pair<std::pair<std::size_t, std::size_t>, std::string>> ranges;
  for (const auto& [name, tensor] : tensors) {
    const auto begin = static_cast<std::size_t>(tensor.bytes.data() - data.data());
    ranges.push_back({{begin, begin + tensor.bytes.size()}, name});
  }
  std::ranges::sort(ranges);
  std::size_t expected = 0;
  for (const auto& [range, name] : ranges) {
    if (range.first != expected) {
      fail("{}: tensor '{}' begins at byte {} of the data, expected {}: ranges {}", path.string(), name, range.first,
           expected, range.first < expected ? "overlap" : "leave a hole");
    }
    expected = range.second;
  }
  if (expected != data.size()) {
    fail("{}: {} bytes of data, but the tensors end at byte {}: no tensor owns the rest", path.string(), data.size(),
         expected);
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = make_header(path, tensors, metadata);
  std::array<std::byte, prefix_bytes> prefix{};
  for (std::size_t i = 0; i < prefix_bytes; ++i) prefix[i] = static_cast<std::byte>(header.size() >> (8 * i));
  FileHandle file = FileHandle::create(path);
  file.write_at(prefix, 0);
  file.write_at(std::as_bytes(std::span(header)), prefix_bytes);
  std::uint64_t offset = prefix_bytes + header.size();
  for (const auto& [name, tensor] : tensors) {
    file.write_at(tensor.bytes, offset);
    offset += tensor.bytes.size();
  }
  file.close();
}

void require_safetensors(const std::filesystem::path& path) {
  const FileHandle file = FileHandle::open_to_read(path);
  const std::uint64_t size = file.size();
  std::array<std::byte, prefix_bytes> prefix{};
  const std::size_t read = file.read_some(prefix, 0);
  const std::uint64_t header_bytes = header_size(path, std::span(prefix).first(read), size);
  std::string text(header_bytes, '\0');
  file.read_at(std::as_writable_bytes(std::span(text)), prefix_bytes);
  const std::uint64_t data = size - prefix_bytes - header_bytes;
  const json header = parse_header(path, text);
  std::uint64_t end = 0;
  for (const auto& [name, entry] : header.items())
    if (name != metadata_key && entry.is_object() && entry.contains("data_offsets") &&
        is_list_of_sizes(entry["data_offsets"]))
      for (const auto& offset : entry["data_offsets"]) end = std::max(end, offset.get<std::uint64_t>());
  if (end != data)
    fail("{}: truncated or no safetensors file: its tensors end at byte {} of the data, the file holds {}",
         path.string(), end, data);
}

Safetensors::Safetensors(const std::filesystem::path& path)
    : Safetensors(path, FileHandle::open_to_read(path).read_whole()) {}

Safetensors::Safetensors(std::filesystem::path path, std::vector<std::byte> bytes)
    : path_(std::move(path)), bytes_(std::move(bytes)) {
  const std::uint64_t header_bytes = header_size(path_, bytes_, bytes_.size());
  const auto body = std::span<const std::byte>(bytes_).subspan(prefix_bytes);
  const json header = parse_header(path_, {reinterpret_cast<const char*>(body.data()), header_bytes});
  const auto data = body.subspan(header_bytes);
  for (const auto& [name, entry] : header.items()) {
    if (name != metadata_key) {
      tensors_.emplace(name, parse_tensor(path_, name, entry, data));
    } else if (entry.is_object() && std::ranges::all_of(entry, [](const json& v) { return v.is_string(); })) {
      metadata_ = entry.get<std::map<std::string, std::string>>();
    } else {
      fail("{}: its {} is {}, expected an object of strings", path_.string(), metadata_key, json_excerpt(entry));
    }
  }
  check_ranges(path_, tensors_, data);
}

const TensorView& Safetensors::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  std::vector<std::pair<std::size_t, std::string>> names;
  for (const auto& [other, tensor] : tensors_) names.emplace_back(edit_distance(name, other), other);
  std::ranges::sort(names);
  std::string nearest;
  for (std::size_t i = 0; i < std::min<std::size_t>(names.size(), 3); ++i) {
    nearest += fmt::format("{}'{}'", i ? ", " : "", names[i].second);
  }
  fail("{}: has no tensor '{}'; of its {} tensors the nearest are {}", path_.string(), name, names.size(),
       nearest.empty() ? "none" : nearest);
}

}  // namespace couplet
