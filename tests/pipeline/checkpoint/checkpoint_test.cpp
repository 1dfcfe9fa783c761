#include "pipeline/checkpoint/checkpoint_writer.h"

#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "tests/pipeline/bytes_read.h"
#include "tests/pipeline/pipeline_testing.h"

#include <ATen/ATen.h>

#include <fstream>
#include <future>
#include <set>

namespace couplet {
namespace {

const nlohmann::json provenance = {{"model", {{"channels", 64}, {"patch", 2}}}, {"dataset", "abc"}};

Checkpoint checkpoint_of(std::int64_t step) {
  const auto value = static_cast<double>(step);
  return {step,
          {{"weights.safetensors", {{"w", at::full({3, 2}, value)}}},
           {"ema.safetensors", {{"w", at::full({3, 2}, value / 2)}}},
           {"optimizer.safetensors",
            {{"w.exp_avg", at::full({3, 2}, value / 4)}, {"w.exp_avg_sq", at::full({3, 2}, value / 8)}}}},
          {{"step", step - 1}, {"loss", 0.1}},
          std::nullopt};
}

/// Written in the background and waited for.
void save(const CheckpointStore& store, const Checkpoint& checkpoint) {
  CheckpointWriter writer(store, ranks());
  writer.start(checkpoint, [] {});
  writer.finish();
}

std::set<std::string> names_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename().string());
  return names;
}

/// Rank 0 changes something on disk, then all go on.
void on_disk(const std::function<void()>& change) {
  ranks().barrier();
  if (ranks().is_root()) change();
  ranks().barrier();
}

void flip_byte(const std::filesystem::path& path, std::streamoff from_end) {
  std::string bytes = read_file(path);
  bytes[bytes.size() - static_cast<std::size_t>(from_end)] ^= 1;
  std::ofstream(path, std::ios::binary) << bytes;
}

class Checkpoints : public testing::Test {
protected:
  CheckpointStore store(nlohmann::json of = provenance) { return {path, 2, std::move(of), ranks()}; }
  std::filesystem::path of(std::int64_t step) const { return path / checkpoint_name(step); }

  SharedDirectory directory;
  std::filesystem::path path = directory / "checkpoints";
};

TEST_F(Checkpoints, ComeBackBitEqual) {
  EXPECT_FALSE(store().load_newest());
  const Checkpoint written = checkpoint_of(7);
  save(store(), written);
  const auto read = store().load_newest();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->step, 7);
  EXPECT_EQ(read->last, written.last);
  if (ranks().is_root())
    for (const auto& [file, tensors] : written.files) expect_bit_equal(read->file(file), tensors);
  else
    EXPECT_TRUE(read->files.empty());
  ranks().barrier();
  EXPECT_EQ(names_in(of(7)),
            (std::set<std::string>{"weights.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json"}));
}

TEST_F(Checkpoints, OneRankReadsThemOnce) {
  Checkpoint written = checkpoint_of(7);
  written.files["weights.safetensors"]["w"] = at::arange(1 << 20, at::kFloat);
  save(store(), written);
  CheckpointStore opened = store();
  const double bytes = 4 << 20, before = bytes_read();
  const auto read = opened.load_newest();
  const double mine = bytes_read() - before;
  ASSERT_TRUE(read);
  if (ranks().is_root()) {
    expect_bit_equal(read->file("weights.safetensors"), written.files["weights.safetensors"]);
    EXPECT_GE(mine, bytes);
    EXPECT_LE(mine, 1.01 * bytes);  // hash and values are of the same pass
  } else {
    EXPECT_LE(mine, 0.01 * bytes);
  }
}

TEST_F(Checkpoints, TheLastTwoAreKept) {
  auto checkpoints = store();
  for (const std::int64_t step : {3, 6, 9, 12}) save(checkpoints, checkpoint_of(step));
  ranks().barrier();
  EXPECT_EQ(names_in(path), (std::set<std::string>{"step-00000009", "step-00000012", "latest"}));
  EXPECT_EQ(read_file(path / "latest"), "step-00000012\n");
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{12, 9}));
  EXPECT_EQ(checkpoints.load_newest()->step, 12);
}

TEST_F(Checkpoints, TheBestIsKeptBesideTheLastTwo) {
  auto checkpoints = store();
  for (const auto& [step, best] : std::vector<std::pair<std::int64_t, BestStep>>{
           {3, {3, 0.5}}, {6, {6, 0.25}}, {9, {6, 0.25}}, {12, {6, 0.25}}, {15, {6, 0.25}}}) {
    Checkpoint checkpoint = checkpoint_of(step);
    checkpoint.best = best;
    save(checkpoints, checkpoint);
  }
  ranks().barrier();
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{15, 12, 6}));
  EXPECT_EQ(read_file(path / "best"), "step-00000006\n");
  EXPECT_EQ(read_file(path / "latest"), "step-00000015\n");
  const auto read = checkpoints.load_newest();
  ASSERT_TRUE(read && read->best);
  EXPECT_EQ(read->step, 15);
  EXPECT_EQ(read->best->step, 6);
  EXPECT_EQ(read->best->figure, 0.25);
  Checkpoint better = checkpoint_of(18);
  better.best = BestStep{18, 0.125};
  save(checkpoints, better);
  ranks().barrier();
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{18, 15}));
  EXPECT_EQ(read_file(path / "best"), "step-00000018\n");
}

TEST_F(Checkpoints, AreWrittenWhileTheCallerGoesOn) {
  auto checkpoints = store();
  save(checkpoints, checkpoint_of(3));
  CheckpointWriter writer(checkpoints, ranks());
  std::promise<void> go;
  writer.start(checkpoint_of(6), [released = go.get_future().share()] { released.wait(); });
  // `start` came back although the writer is held up: what is on disk is still the one before.
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{3}));
  writer.rethrow_failure();
  ranks().barrier();
  go.set_value();
  writer.finish();
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{6, 3}));
}

TEST_F(Checkpoints, AnyDamageFallsBackAndSaysWhy) {
  const std::vector<std::pair<std::string, std::function<void()>>> damages = {
      {"weights.safetensors", [&] { flip_byte(of(6) / "weights.safetensors", 1); }},
      {"ema.safetensors", [&] { std::filesystem::resize_file(of(6) / "ema.safetensors", 10); }},
      {"optimizer.safetensors", [&] { std::filesystem::remove(of(6) / "optimizer.safetensors"); }},
      {"state.json", [&] { flip_byte(of(6) / "state.json", 20); }},
      {"state.json", [&] { publish_file(of(6) / "state.json", std::string(200'000, '[')); }},
      {"state.json", [&] { std::filesystem::remove(of(6) / "state.json"); }}};
  for (const auto& [file, damage] : damages) {
    save(store(), checkpoint_of(3));
    save(store(), checkpoint_of(6));
    on_disk(damage);
    testing::internal::CaptureStderr();
    const auto read = store().load_newest();
    const std::string warnings = testing::internal::GetCapturedStderr();
    ASSERT_TRUE(read);
    EXPECT_EQ(read->step, 3);
    if (!ranks().is_root()) continue;
    EXPECT_EQ(read->file("weights.safetensors").at("w")[0][0].item<double>(), 3);
    expect_contains(warnings, "checkpoint step-00000006 is not used");
    expect_contains(warnings, file);
  }
}

// What may pass (here EIO, which this link gives to its reader) is no damage: nothing is passed over or put aside.
TEST_F(Checkpoints, OneThatCannotBeReadEndsTheJobAndStays) {
  const auto file = of(6) / "ema.safetensors";
  const std::filesystem::path kept = path.string() + "-kept";
  for (const std::int64_t step : {3, 6}) save(store(), checkpoint_of(step));
  on_disk([&] {
    std::filesystem::rename(file, kept);
    std::filesystem::create_symlink("/proc/self/mem", file);
  });
  const std::string error = error_of([&] { store().load_newest(); });
  expect_contains(error, file.string());
  expect_contains(error, "Input/output error");
  EXPECT_EQ(names_in(path), (std::set<std::string>{"step-00000003", "step-00000006", "latest"}));
  on_disk([&] { std::filesystem::rename(kept, file); });
  EXPECT_EQ(store().load_newest()->step, 6);
}

TEST_F(Checkpoints, TheDamagedOneIsPutAside) {
  for (const std::int64_t step : {3, 6, 9}) save(store(), checkpoint_of(step));
  on_disk([&] { flip_byte(of(9) / "ema.safetensors", 1); });
  EXPECT_EQ(store().load_newest()->step, 6);
  EXPECT_EQ(names_in(path), (std::set<std::string>{"step-00000006", "damaged-step-00000009", "latest"}));
  save(store(), checkpoint_of(7));
  EXPECT_EQ(store().load_newest()->step, 7);
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{7, 6}));
  save(store(), checkpoint_of(7));  // over itself
  EXPECT_EQ(store().load_newest()->step, 7);
}

TEST_F(Checkpoints, NoWholeOneIsAnError) {
  save(store(), checkpoint_of(3));
  on_disk([&] { flip_byte(of(3) / "ema.safetensors", 1); });
  expect_contains(error_of([&] { store().load_newest(); }), "none of the 1 checkpoints is whole");
  EXPECT_EQ(checkpoint_steps(path), (std::vector<std::int64_t>{3}));
}

TEST_F(Checkpoints, OfAnotherProvenanceAreRefusedWithTheDifference) {
  save(store(), checkpoint_of(3));
  try {
    store({{"model", {{"channels", 128}, {"patch", 2}}}, {"table", "xyz"}}).load_newest();
    ADD_FAILURE() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), exit_usage);
    expect_contains(error.what(), "model.channels is 64 in the checkpoint, 128 now");
    expect_contains(error.what(), "dataset is \"abc\" in the checkpoint, absent now");
    expect_contains(error.what(), "table is absent in the checkpoint, \"xyz\" now");
    EXPECT_EQ(std::string(error.what()).find("patch"), std::string::npos) << error.what();
  }
}

TEST_F(Checkpoints, WhatAKilledWriterLeftIsRemoved) {
  save(store(), checkpoint_of(3));
  const auto leftover = path / ".partial-elsewhere-1-0-step-00000006";
  on_disk([&] { std::filesystem::create_directories(leftover / "x"); });
  EXPECT_EQ(store().load_newest()->step, 3);
  EXPECT_FALSE(std::filesystem::exists(leftover));
}

TEST_F(Checkpoints, OneThatCannotBeWrittenFailsOnEveryRank) {
  auto checkpoints = store();
  on_disk([&] {
    std::filesystem::remove_all(path);
    std::ofstream(path) << "a file";
  });
  EXPECT_NE(error_of([&] { save(checkpoints, checkpoint_of(3)); }), "no error");
  on_disk([&] { std::filesystem::remove_all(path); });
}

TEST_F(Checkpoints, FewerThanTwoAreRefused) {
  expect_contains(error_of([&] { CheckpointStore(path, 1, provenance, ranks()); }), "pipeline.keep-checkpoints = 1");
}

TEST(RestoreTensors, NamesWhatDoesNotFit) {
  NamedTensors into = {{"a", at::zeros({2})}, {"b", at::zeros({3})}};
  restore_tensors(into, {{"a", at::ones({2})}, {"b", at::ones({3})}, {"c", at::ones({1})}}, "file");
  EXPECT_TRUE(into.at("b").equal(at::ones({3})));
  expect_contains(error_of([&] { restore_tensors(into, {{"a", at::ones({2})}}, "file"); }), "file: holds no tensor b");
  expect_contains(error_of([&] { restore_tensors(into, {{"a", at::ones({4})}}, "file"); }), "a has 4 values");
}

}  // namespace
}  // namespace couplet
