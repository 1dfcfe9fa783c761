#include "storage/formats/state_dict.h"

#include "tests/storage/formats/zip_archive.h"
#include "tests/storage/storage_testing.h"

#include <cstring>
#include <map>
#include <utility>

namespace couplet::testing {
namespace {

// The instructions of a pickle, as docs.python.org/3/library/pickletools lists them.
const std::string mark = "(", empty_dict = "}", set_items = "u", tuple = "t", none = "N", call = "R", stop = ".";

std::string text(const std::string& value) {
  return "X" + little_endian_bytes(value.size(), 4) + value;
}
std::string whole(std::int64_t value) {
  return "J" + little_endian_bytes(static_cast<std::uint64_t>(value), 4);
}
std::string name(const std::string& module, const std::string& member) {
  return "c" + module + "\n" + member + "\n";
}
std::string wholes(const std::vector<std::int64_t>& values) {
  std::string all = mark;
  for (const std::int64_t value : values) all += whole(value);
  return all + tuple;
}
const std::string ordered_dict = name("collections", "OrderedDict") + ")" + call;

struct Storage {
  std::string type = "FloatStorage", key = "0";
  std::int64_t elements = 6;
};
std::string tensor(const Storage& storage, std::int64_t offset, const std::vector<std::int64_t>& shape,
                   const std::vector<std::int64_t>& strides) {
  return name("torch._utils", "_rebuild_tensor_v2") + mark + mark + text("storage") + name("torch", storage.type) +
         text(storage.key) + text("cpu") + whole(storage.elements) + tuple + "Q" + whole(offset) + wholes(shape) +
         wholes(strides) + "\x89" + ordered_dict + tuple + call;
}

using Entries = std::vector<std::pair<std::string, std::string>>;

std::string items(const Entries& entries) {
  std::string all = mark;
  for (const auto& [key, value] : entries) all += text(key) + value;
  return all + set_items;
}
std::string pickled(const std::string& value) {
  return "\x80\x02" + value + stop;
}
std::string dict_of(const Entries& entries) {
  return empty_dict + items(entries);
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
std::vector<T> values_of(const TensorView& view) {
  std::vector<T> values(view.bytes.size() / sizeof(T));
  std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
  return values;
}

const std::string six = raw(std::vector<float>{0, 1, 2, 3, 4, 5});

class StateDictFile : public ::testing::Test {
protected:
  /// Writes an archive whose pickle is of `value`.
  void save(const std::string& value, Entries members = {{"data/0", six}}) { save_pickle(pickled(value), members); }
  void save_pickle(const std::string& pickle, Entries members = {{"data/0", six}}) {
    members.insert(members.begin(), {"data.pkl", pickle});
    for (auto& [name, bytes] : members) name = "model/" + name;
    write_bytes(path, zip_archive(members));
  }
  void expect_refused(ExitStatus status, std::vector<std::string> parts) {
    parts.emplace_back("/weights");
    expect_error([&] { StateDict{path}; }, parts);
    try {
      StateDict{path};
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), status) << error.what();
    }
  }

  const Folder folder;
  const fs::path path = folder / "weights.safetensors";  // names say nothing
};

TEST_F(StateDictFile, HasTheTensorsOfADict) {
  save(dict_of({{"a.weight", tensor({}, 0, {2, 3}, {3, 1})},
                {"scalar", tensor({}, 4, {}, {})},
                {"empty", tensor({}, 0, {0, 3}, {3, 1})},
                {"ü", tensor({"LongStorage", "1", 2}, 1, {1}, {7})},
                {"half", tensor({"HalfStorage", "2", 3}, 0, {3}, {1})},
                {"brain", tensor({"BFloat16Storage", "2", 3}, 0, {3}, {1})},
                {"double", tensor({"DoubleStorage", "1", 2}, 0, {2}, {1})},
                {"int", tensor({"IntStorage", "0", 6}, 0, {6}, {1})},
                {"byte", tensor({"ByteStorage", "2", 6}, 0, {6}, {1})}}),
       {{"data/0", six}, {"data/1", raw(std::vector<std::int64_t>{5, 7})}, {"data/2", std::string("abcdef")}});
  EXPECT_EQ(torch_file(path), TorchFile::tensors);
  const StateDict read(path);
  const auto& all = read.tensors();
  ASSERT_EQ(all.size(), 9u);
  EXPECT_EQ(all.at("a.weight").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(values_of<float>(all.at("a.weight")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(all.at("scalar").shape.size(), 0u);
  EXPECT_EQ(values_of<float>(all.at("scalar")), (std::vector<float>{4}));
  EXPECT_EQ(all.at("empty").shape, (std::vector<std::int64_t>{0, 3}));
  EXPECT_TRUE(all.at("empty").bytes.empty());
  EXPECT_EQ(values_of<std::int64_t>(all.at("ü")), (std::vector<std::int64_t>{7}));
  const std::map<std::string, ElementType> types{{"ü", ElementType::int64},        {"half", ElementType::float16},
                                                 {"brain", ElementType::bfloat16}, {"double", ElementType::float64},
                                                 {"int", ElementType::int32},      {"byte", ElementType::uint8}};
  for (const auto& [key, type] : types) EXPECT_EQ(all.at(key).type, type) << key;
  EXPECT_EQ(values_of<char>(all.at("byte")), (std::vector<char>{'a', 'b', 'c', 'd', 'e', 'f'}));
}

/// What model.state_dict() is: an OrderedDict with the attribute _metadata; remembered values; parameters.
TEST_F(StateDictFile, HasTheTensorsOfAnOrderedDict) {
  const std::string parameter = name("torch._utils", "_rebuild_parameter") + mark + tensor({}, 0, {6}, {1}) + "q\5" +
                                "\x88" + ordered_dict + tuple + call;
  const std::string metadata = dict_of(
      {{"_metadata", ordered_dict + "r" + little_endian_bytes(700, 4) + items({{"", dict_of({{"version", "K\1"}})}})}});
  save(ordered_dict + "q\1" + items({{"p", parameter}, {"again", "h\5"}}) + metadata + "b");
  const StateDict read(path);
  ASSERT_EQ(read.tensors().size(), 2u);
  for (const char* key : {"p", "again"})
    EXPECT_EQ(values_of<float>(read.tensors().at(key)), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(read.tensors().at("p").bytes.data(), read.tensors().at("again").bytes.data())
      << "shared storages are shared";
}

TEST_F(StateDictFile, StridedTensorsAreRowMajor) {
  save(dict_of({{"transposed", tensor({}, 0, {3, 2}, {1, 3})},
                {"column", tensor({}, 1, {2}, {3})},
                {"repeated", tensor({}, 5, {2, 2}, {0, 0})},
                {"ones", tensor({}, 0, {1, 3, 1, 2}, {999999, 1, 0, 3})}}));
  const StateDict read(path);
  EXPECT_EQ(values_of<float>(read.tensors().at("transposed")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(values_of<float>(read.tensors().at("column")), (std::vector<float>{1, 4}));
  EXPECT_EQ(values_of<float>(read.tensors().at("repeated")), (std::vector<float>{5, 5, 5, 5}));
  EXPECT_EQ(values_of<float>(read.tensors().at("ones")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  StateDict first(path);
  const StateDict moved = std::move(first);
  EXPECT_EQ(values_of<float>(moved.tensors().at("transposed")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
}

TEST_F(StateDictFile, DictsOfDictsAreRefusedWithTheirKeys) {
  const std::string weights = dict_of({{"w", tensor({}, 0, {6}, {1})}});
  save(dict_of({{"epoch", whole(3)},
                {"model", weights},
                {"ema", ordered_dict + items({{"w", tensor({}, 0, {6}, {1})}})},
                {"settings", dict_of({{"rate", "G" + std::string(8, '\0')}})}}));
  expect_refused(exit_usage,
                 {R"(a dict of "epoch", "model", "ema", "settings")", R"(tensors in "model", "ema")",
                  R"(torch.save(torch.load("weights.safetensors", map_location="cpu", weights_only=True)["model"])"});
  save(dict_of({{"a", dict_of({{"b", whole(1)}})}}));
  expect_refused(exit_usage, {R"(a dict of "a")", "model.state_dict()"});
  save(dict_of({{"w", tensor({}, 0, {6}, {1})}, {"step", whole(3)}}));
  expect_refused(exit_usage, {R"("step")", "is a number, and no tensor"});
  save(tensor({}, 0, {6}, {1}));
  expect_refused(exit_usage, {"holds a tensor"});
  save("]" + mark + tensor({}, 0, {6}, {1}) + "e");
  expect_refused(exit_usage, {"holds a list"});
  save(empty_dict + whole(1) + tensor({}, 0, {6}, {1}) + "s");
  expect_refused(exit_usage, {"a number for a key"});
}

TEST_F(StateDictFile, NothingThatAPickleNamesIsRun) {
  const fs::path touched = folder / "touched";
  save(name("posix", "system") + mark + text("touch " + touched.string()) + tuple + call);
  expect_refused(exit_usage, {"names \"posix.system\"", "nothing that a file names is run"});
  EXPECT_FALSE(fs::exists(touched));
  for (const char* function : {"_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_tensor_v3"}) {
    save(dict_of({{"a", name("torch._utils", function) + ")" + call}}));
    expect_refused(exit_usage, {function, "plain tensors"});
  }
  save(name("torch.nn.modules.linear", "Linear") + ")\x81");
  expect_refused(exit_usage, {"torch.nn.modules.linear.Linear"});
  save(name("collections", "OrderedDict") + ")\x81");
  expect_refused(exit_usage, {"the instruction NEWOBJ at byte"});
  save(name("torch.evil.x", "FloatStorage"));
  expect_refused(exit_usage, {"torch.evil.x.FloatStorage"});
}

TEST_F(StateDictFile, WhatIsNoTensorOfOursIsRefused) {
  save(dict_of({{"mask", tensor({"BoolStorage", "0", 24}, 0, {24}, {1})}}));
  expect_refused(exit_usage, {"tensor \"mask\"", "torch.BoolStorage", "bfloat16"});
  save(dict_of({{"wide", tensor({}, 0, {7, 1}, {0, 1})}}));
  expect_refused(exit_usage, {"tensor \"wide\"", "[7, 1]", "6", "contiguous()"});
  std::string negated = tensor({}, 0, {6}, {1});
  negated.insert(negated.size() - 2, dict_of({{"neg", "\x88"}}));
  save(dict_of({{"n", negated}}));
  expect_refused(exit_usage, {"tensor \"n\"", "clone()"});
  Entries many;
  for (int i = 0; i < 1000; ++i) many.emplace_back(std::to_string(i), "h\1");
  many.front().second = tensor({"ByteStorage", "0", 100'000}, 0, {100'000}, {1}) + "q\1";
  save(dict_of(many), {{"data/0", std::string(100'000, 'x')}});
  expect_refused(exit_usage, {"64 times"});
}

TEST_F(StateDictFile, OtherFormsOfPyTorchAreRefusedWithWhatToDo) {
  const std::string value = dict_of({{"w", tensor({}, 0, {6}, {1})}});
  save(value, {{"data/0", six}, {"code/a.py", ""}});
  EXPECT_EQ(torch_file(path), TorchFile::other_archive);
  expect_refused(exit_usage, {"TorchScript", "torch.jit.load(\"weights.safetensors\"", ".state_dict()"});
  save(value, {{"data/0", six}, {"constants.pkl", ""}});
  expect_refused(exit_usage, {"TorchScript"});
  save(value, {{"data/0", six}, {"byteorder", "big"}});
  expect_refused(exit_usage, {"big-endian", "torch.load("});
  save(value, {{"data/0", six}, {"byteorder", "little"}});
  EXPECT_EQ(StateDict(path).tensors().size(), 1u);
  save(value, {{"data/0", six}, {"byteorder", "middle"}});
  expect_refused(exit_failed, {"byteorder"});
  write_bytes(path, std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15) + value);
  EXPECT_EQ(torch_file(path), TorchFile::tensors);
  expect_refused(exit_usage, {"before version 1.6", "torch.save(torch.load("});
  save_pickle("\x80\x04" + value + stop);
  expect_refused(exit_usage, {"protocol 4"});
  write_bytes(path, zip_archive({{"a/b", "c"}}));
  EXPECT_EQ(torch_file(path), TorchFile::other_archive);
  expect_refused(exit_usage, {"no data.pkl"});
  write_bytes(path, zip_archive({{"a/data.pkl", pickled(value)}, {"b/data.pkl", ""}}));
  expect_refused(exit_usage, {"two members \"data.pkl\""});
  write_bytes(path, "{}");
  EXPECT_EQ(torch_file(path), TorchFile::none);
  write_bytes(path, "");
  EXPECT_EQ(torch_file(path), TorchFile::none);
}

TEST_F(StateDictFile, DamagedFilesAreErrors) {
  const auto with = [&](const Storage& storage, std::int64_t offset, const std::vector<std::int64_t>& shape,
                        const std::vector<std::int64_t>& strides, const std::vector<std::string>& parts) {
    save(dict_of({{"w", tensor(storage, offset, shape, strides)}}));
    expect_refused(exit_failed, parts);
  };
  const std::int64_t most = 2147483647;
  with({}, 1, {6}, {1}, {"tensor \"w\"", "[6]", "from element 1", "6 elements"});
  with({}, 0, {2, 3}, {4, 1}, {"beyond"});
  with({}, 0, {most, most, most, most}, {most, most, most, most}, {"beyond"});
  with({}, 6, {}, {}, {"beyond"});
  with({}, -1, {6}, {1}, {"its offset"});
  with({}, 0, {-6}, {1}, {"its shape"});
  with({}, 0, {6}, {-1}, {"its shape"});
  with({}, 0, {6}, {}, {"its shape"});
  with({}, 0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1), {"its shape"});
  with({"FloatStorage", "0", 7}, 0, {6}, {1}, {"7 elements of float32", "24 bytes"});
  with({"FloatStorage", "0", -1}, 0, {6}, {1}, {"its storage"});
  with({"FloatStorage", "1", 6}, 0, {6}, {1}, {"no member \"data/1\""});
  with({"FloatStorage", "../data/0", 6}, 0, {6}, {1}, {"no member"});
  save(dict_of({{"w", tensor({}, 0, {0, most, most, most, most}, {1, 0, 0, 0, 0})}}));
  expect_refused(exit_usage, {"more elements"});
  save(dict_of({{"w", tensor({}, 0, {6}, {1})}, {"w", tensor({}, 0, {6}, {1})}}));
  expect_refused(exit_failed, {"twice"});
  save(dict_of({{"w", name("torch._utils", "_rebuild_tensor_v2") + ")" + call}}));
  expect_refused(exit_failed, {"tensor \"w\"", "not as torch.save describes it"});

  save(dict_of({{"w", tensor({}, 0, {6}, {1})}}));
  const std::string good = read_bytes(path);
  std::string changed = good;
  changed[good.find(six) + 4] ^= 1;
  write_bytes(path, changed);
  expect_refused(exit_failed, {"member \"data/0\"", "checksum"});
  // torch.save leaves checksums out where it is told to.
  const std::size_t entry = changed.rfind("PK\1\2");
  changed.replace(entry + 16, 4, 4, '\0');
  write_bytes(path, changed);
  EXPECT_EQ(StateDict(path).tensors().size(), 1u);
  for (std::size_t kept = 0; kept < good.size(); ++kept) {
    write_bytes(path, good.substr(0, kept));
    expect_error([&] { StateDict{path}; }, {"/weights"});
  }
  expect_error([&] { StateDict{folder / "none"}; }, {"none", "No such file"});
  expect_error([&] { torch_file(folder / "none"); }, {"none", "No such file"});
}

TEST_F(StateDictFile, DamagedPicklesNameTheByte) {
  const auto expect = [&](const std::string& pickle, const std::vector<std::string>& parts) {
    save_pickle(pickle);
    std::vector<std::string> all{"data.pkl: is damaged at byte"};
    all.insert(all.end(), parts.begin(), parts.end());
    expect_refused(exit_failed, all);
  };
  expect("", {"begin"});
  expect("N.", {"begin"});
  expect("\x80\x02", {"1 bytes should follow"});
  expect(pickled(""), {"0 values"});
  expect(pickled("NN"), {"2 values"});
  expect(pickled("(N"), {"1 values"});
  expect(pickled(empty_dict) + "N", {"1 bytes follow its end"});
  expect(pickled("X\xff\xff\xff\xff"), {"4294967295 bytes should follow"});
  expect(pickled("X\1" + std::string(3, '\0') + "\xff"), {"no UTF-8"});
  expect(pickled("\x8a\x09" + std::string(9, '\1')), {"a number of 9 bytes"});
  expect(pickled("ccollections"), {"ends within a name"});
  expect(pickled("h\3"), {"value 3"});
  expect(pickled("q\3"), {"not there"});
  expect(pickled("t"), {"a group that it has not begun"});
  expect(pickled("N(\x85"), {"takes 1 values, and there are 0"});
  expect(pickled("}Ns"), {"not there"});
  expect(pickled("}(Nu"), {"a key without a value"});
  expect(pickled("NNNs"), {"no dict"});
  expect(pickled("NNa"), {"no list"});
  expect(pickled("N)R"), {"calls something else"});
  expect(pickled("}}b"), {"a state"});
  expect(pickled("\xff"), {"0xff is no instruction"});
}

/// Values that hold each other, or are nested without end, take no stack.
TEST_F(StateDictFile, NestingHasNoBottom) {
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += ')';
  for (int i = 1; i < 200'000; ++i) deep += "\x86";
  save(deep);
  expect_refused(exit_usage, {"holds a tuple"});
  save("}q\1" + text("self") + "h\1s");
  expect_refused(exit_usage, {R"(a dict of "self")"});
  save("]q\1h\1a");
  expect_refused(exit_usage, {"a list"});
  save_pickle(std::string((std::size_t{1} << 24) + 1, '('));
  expect_refused(exit_usage, {"data.pkl", "at most"});
}

}  // namespace
}  // namespace couplet::testing
