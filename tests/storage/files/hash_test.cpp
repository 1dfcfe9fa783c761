#include "storage/files/hash.h"

#include "storage/formats/element_type.h"
#include "storage/tables/filenames.h"
#include "tests/storage/storage_testing.h"

namespace couplet::testing {
namespace {

/// Published values of XXH3 (as `xxhsum -H3` and `xxh128sum` print them).
TEST(Hash, KnownValues) {
  EXPECT_EQ(hash64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(hash_text(""), "99aa06d3014798d86001c324468d497f");
  const std::string text = "abc";
  EXPECT_EQ(hash64(std::as_bytes(std::span(text))), 0x78af5f94892f3950u);
  EXPECT_EQ(hash_text(text), "06b05ab6733a618578af5f94892f3950");
  EXPECT_NE(hash64(std::as_bytes(std::span(text)), 1), hash64(std::as_bytes(std::span(text))));
}

TEST(Hash, FileHasTheHashOfItsContent) {
  const Folder folder;
  for (const std::size_t size : {0u, 1u, 1u << 20, (5u << 20) + 3u}) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 % 255);
    write_bytes(folder / "a", text);
    EXPECT_EQ(hash_file(folder / "a"), hash_text(text)) << size;
  }
  expect_error([&] { hash_file(folder / "none"); }, {"none", "No such file"});
}

TEST(ElementType, NamesAndSizes) {
  const std::vector<std::pair<std::string, std::size_t>> types{
      {"uint8", 1}, {"int32", 4}, {"int64", 8}, {"float16", 2}, {"bfloat16", 2}, {"float32", 4}, {"float64", 8}};
  for (const auto& [name, size] : types) {
    EXPECT_EQ(element_name(parse_element_type(name)), name);
    EXPECT_EQ(element_size(parse_element_type(name)), size) << name;
  }
  expect_error([] { parse_element_type("float8"); }, {"'float8'", "bfloat16"});
}

TEST(FileNames, ShardNamesAreMadeAndParsed) {
  EXPECT_EQ(shard_name(42, 128), "shard-00042-of-00128.h5");
  EXPECT_EQ(shard_name(0, 1234567), "shard-00000-of-1234567.h5");
  const auto parsed = parse_shard_name("shard-00042-of-00128.h5");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->index, 42);
  EXPECT_EQ(parsed->shards, 128);
  for (const char* name : {"", "shard-", "shard-00128-of-00128.h5", "shard-42-of-128.h5", "shard-00042-of-00128.h5x",
                           "shard-of-00128.h5", "shard--0042-of-00128.h5", ".partial-h-1-0-shard-00042-of-00128.h5"}) {
    EXPECT_FALSE(parse_shard_name(name)) << name;
  }
}

}  // namespace
}  // namespace couplet::testing
