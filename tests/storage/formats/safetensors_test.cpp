#include "storage/formats/safetensors.h"

#include "tests/storage/storage_testing.h"

#include <cmath>
#include <cstring>

namespace couplet::testing {
namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

/// A file with the given header text and `data_bytes` zero bytes.
std::string make_file(const std::string& header, std::size_t data_bytes) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  return bytes + header + std::string(data_bytes, '\0');
}

TEST(Safetensors, ReturnsWhatWasWritten) {
  const Folder folder;
  const std::vector<float> weights{1, 2, 3, 4, 5, 6};
  const std::vector<std::uint8_t> odd{1, 2, 3};
  const std::vector<double> scalar{0.5};
  const std::map<std::string, TensorView> tensors{{"net.weight", {ElementType::float32, {2, 3}, bytes_of(weights)}},
                                                  {"a", {ElementType::uint8, {3}, bytes_of(odd)}},
                                                  {"s \"quoted\" ü", {ElementType::float64, {}, bytes_of(scalar)}},
                                                  {"empty", {ElementType::bfloat16, {0, 4}, {}}}};
  write_safetensors(folder / "a", tensors, {{"step", "17"}});
  const Safetensors file(folder / "a");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"step", "17"}}));
  ASSERT_EQ(file.tensors().size(), 4u);
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file.at(name).type, tensor.type) << name;
    EXPECT_EQ(file.at(name).shape, tensor.shape) << name;
    EXPECT_TRUE(std::ranges::equal(file.at(name).bytes, tensor.bytes)) << name;
  }
  write_safetensors(folder / "b", tensors, {{"step", "17"}});
  EXPECT_EQ(read_bytes(folder / "a"), read_bytes(folder / "b"));
  expect_error([&] { file.at("net.weigth"); }, {"/a", "'net.weigth'", "4 tensors", "nearest are 'net.weight'"});
}

/// The bytes themselves, as the format's page describes them.
TEST(Safetensors, BytesAreTheFormats) {
  const Folder folder;
  const std::vector<std::int32_t> values{1, 258};
  write_safetensors(folder / "a", {{"x", {ElementType::int32, {2}, bytes_of(values)}}});
  const std::string bytes = read_bytes(folder / "a");
  const std::string header = R"({"x":{"data_offsets":[0,8],"dtype":"I32","shape":[2]}})";
  const std::size_t padded = (header.size() + 7) / 8 * 8;
  ASSERT_EQ(bytes.size(), 8 + padded + 8);
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]), padded);
  EXPECT_EQ(bytes.substr(1, 7), std::string(7, '\0'));
  EXPECT_EQ(bytes.substr(8, padded), header + std::string(padded - header.size(), ' '));
  EXPECT_EQ(bytes.substr(8 + padded), std::string("\1\0\0\0\2\1\0\0", 8));
}

TEST(Safetensors, MovingKeepsTheViews) {
  const Folder folder;
  const std::vector<std::uint8_t> values{7};
  write_safetensors(folder / "a", {{"x", {ElementType::uint8, {1}, bytes_of(values)}}});
  Safetensors first(folder / "a");
  const Safetensors second = std::move(first);
  EXPECT_EQ(second.at("x").bytes[0], std::byte{7});
  static_assert(!std::is_copy_constructible_v<Safetensors>);
}

/// A file written by the format's own library.
TEST(Safetensors, ReadsTheReferenceLibrarysFile) {
  const Safetensors file(fs::path(COUPLET_TEST_DATA) / "reference" / "sit.io.safetensors");
  EXPECT_GT(file.tensors().size(), 2u);
  std::size_t values = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    if (tensor.type != ElementType::float32) continue;
    for (std::size_t i = 0; i + 4 <= tensor.bytes.size(); i += 4, ++values) {
      float value = 0;
      std::memcpy(&value, tensor.bytes.data() + i, sizeof value);
      EXPECT_TRUE(std::isfinite(value) && std::abs(value) < 1e3f) << name;
    }
  }
  EXPECT_GT(values, 1000u);
}

TEST(Safetensors, DamagedFilesAreErrorsThatNameTheTensor) {
  const Folder folder;
  const auto expect = [&](const std::string& bytes, const std::vector<std::string>& parts) {
    write_bytes(folder / "file", bytes);
    std::vector<std::string> all{"/file"};
    all.insert(all.end(), parts.begin(), parts.end());
    expect_error([&] { Safetensors{folder / "file"}; }, all);
  };
  const auto entry = [](const std::string& name, const std::string& type, const std::string& shape,
                        const std::string& range) {
    return "\"" + name + R"(":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + range + "}";
  };
  const std::string a = entry("a", "F32", "[2]", "[0,8]");
  write_bytes(folder / "good", make_file("{" + a + "}", 8));
  EXPECT_EQ(Safetensors(folder / "good").tensors().size(), 1u);
  expect("", {"0 bytes"});
  expect("1234567", {"7 bytes"});
  expect(make_file("{" + a + "}", 8).substr(0, 30), {"truncated"});
  expect(std::string(16, '\xff'), {"truncated or no safetensors file"});
  expect(make_file("{" + a + "}", 7), {"truncated", "'a'", "byte 8", "7"});
  expect(make_file("{" + a + "}", 9), {"9 bytes of data", "byte 8"});
  expect(make_file("{" + a, 8), {"no JSON"});
  expect(make_file("[1]", 0), {"no JSON object"});
  expect(make_file("{" + a + "," + a + "}", 8), {"\"a\"", "twice"});
  expect(make_file("{" + a + "," + entry("b", "F32", "[2]", "[4,12]") + "}", 12), {"'b'", "byte 4", "overlap"});
  expect(make_file("{" + a + "," + entry("b", "F32", "[2]", "[12,20]") + "}", 20), {"'b'", "byte 12", "hole"});
  expect(make_file("{" + entry("c", "F32", "[3]", "[0,8]") + "}", 8), {"'c'", "[3]", "expected 12 bytes"});
  expect(make_file("{" + entry("c", "F32", "[2]", "[8,0]") + "}", 8), {"'c'", "range 8 to 0"});
  expect(make_file("{" + entry("c", "F8_E4M3", "[8]", "[0,8]") + "}", 8), {"'c'", "F8_E4M3"});
  expect(make_file("{" + entry("c", "F32", "[-2]", "[0,8]") + "}", 8), {"'c'", "[-2]"});
  expect(make_file("{" + entry("c", "F32", "[9223372036854775807,9]", "[0,8]") + "}", 8), {"'c'"});
  expect(make_file("{" + entry("c", "F32", "[18446744073709551615]", "[0,8]") + "}", 8), {"'c'"});
  expect(make_file("{" + entry("c", "F32", "[2]", "[0,8.0]") + "}", 8), {"'c'"});
  expect(make_file("{" + entry("c", "F32", "[2]", "[0]") + "}", 8), {"'c'"});
  expect(make_file(R"({"c":{"dtype":"F32","shape":[2]}})", 8), {"'c'", "data_offsets"});
  expect(make_file(R"({"__metadata__":{"a":1}})", 0), {"__metadata__", "object of strings"});
  expect(make_file("{\"\xff\":1}", 0), {"header", "no UTF-8"});
  expect_error([&] { Safetensors{folder / "none"}; }, {"none", "No such file"});
}

/// The header alone says what is no safetensors file, and what is cut short.
TEST(Safetensors, AFileIsKnownByItsHeader) {
  const Folder folder;
  const std::string entry = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  write_bytes(folder / "good", make_file(entry, 8));
  require_safetensors(folder / "good");
  write_bytes(folder / "empty", make_file("{}", 0));
  require_safetensors(folder / "empty");
  const auto expect = [&](const std::string& bytes, const std::vector<std::string>& parts) {
    write_bytes(folder / "file", bytes);
    expect_error([&] { require_safetensors(folder / "file"); }, parts);
  };
  expect("", {"/file", "0 bytes"});
  expect("an image, say, or a text", {"/file", "no safetensors file"});
  expect(make_file(entry, 8).substr(0, 30), {"/file", "truncated"});
  expect(make_file(entry, 7), {"/file", "byte 8", "holds 7"});
  expect(make_file(entry, 9), {"/file", "byte 8", "holds 9"});
  expect(make_file("[1]", 0), {"/file", "no JSON object"});
  expect_error([&] { require_safetensors(folder / "none"); }, {"none", "No such file"});
}

/// Whoever prints or copies what nests without end runs out of stack.
TEST(Safetensors, HeadersAreAsDeepAsTheFormatHasThem) {
  const Folder folder;
  const std::string deep(200'000, '[');
  for (const std::string& start : {deep, R"({"a":)" + deep, R"({"__metadata__":)" + deep, R"({"a":{"shape":)" + deep}) {
    std::string end;
    for (auto open = start.rbegin(); open != start.rend(); ++open)
      if (*open == '[' || *open == '{') end += *open == '[' ? ']' : '}';
    write_bytes(folder / "file", make_file(start + end, 0));
    expect_error([&] { Safetensors{folder / "file"}; }, {"/file", "header", "more than 3 levels"});
  }
}

TEST(Safetensors, MessagesShowAnExcerptOfWhatIsWrong) {
  const Folder folder;
  write_bytes(folder / "file", make_file(R"({"a":")" + std::string(100'000, 'x') + R"("})", 0));
  try {
    Safetensors{folder / "file"};
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_LT(std::string(error.what()).size(), 1000U);
  }
}

TEST(Safetensors, WriterRefusesWrongSizes) {
  const Folder folder;
  const std::vector<float> values{1, 2};
  expect_error(
      [&] {
        write_safetensors(folder / "a", {{"x", {ElementType::float32, {3}, bytes_of(values)}}});
      },
      {"'x'", "[3]", "8 bytes", "12"});
  expect_error(
      [&] {
        write_safetensors(folder / "a", {{"__metadata__", {ElementType::float32, {2}, bytes_of(values)}}});
      },
      {"__metadata__"});
  expect_error(
      [&] {
        write_safetensors(folder / "a", {{"\xff", {ElementType::float32, {2}, bytes_of(values)}}});
      },
      {"UTF-8"});
  expect_error([&] { write_safetensors(folder / "no/a", {}); }, {"no/a", "No such file"});
  write_safetensors(folder / "a", {});
  EXPECT_TRUE(Safetensors(folder / "a").tensors().empty());
}

}  // namespace
}  // namespace couplet::testing
