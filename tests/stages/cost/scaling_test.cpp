// The model of scaling, worked out by hand where it is small enough.
#include "stages/cost/scaling.h"

#include "stages/cost/load_table.h"
#include "storage/error.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace couplet {
namespace {

Machine slow_machine() {
  Machine machine;
  machine.gpus = 2;
  machine.node_bandwidth = 4e9;
  machine.network_bandwidth = 1e9;
  machine.latency = 0.25;
  return machine;
}

/// Seconds; -1 where there is no such part.
double part_of(const StageTime& time, const std::string& name) {
  for (const TimePart& part : time.parts)
    if (part.what == name) return part.seconds;
  return -1;
}

/// 100 steps of 10 ms of products on one GPU, and of 70 operations of 1 ms.
StageLoad small_training() {
  StageLoad load;
  load.kind = "teacher";
  load.units = 8;
  load.rounds = 100;
  load.layout = {.tensors = 10, .bytes = 4e6, .trained_bytes = 4e6, .bucket_bytes = {4e6}};
  load.flops = {989e12, 0};
  return load;
}

Machine of_short_operations() {
  Machine machine;
  machine.utilisation = 1;
  machine.kernel = 1e-3;
  return machine;
}

TEST(Scaling, AnAllReduceSendsAllBytesTwiceAndWaitsForEachHop) {
  // Two ranks of a node: 2 · 1/2 · 8 GB at 4 GB/s, and two hops.
  EXPECT_DOUBLE_EQ(all_reduce_seconds(8e9, 2, slow_machine()), 2 + 0.5);
  // Four ranks of two nodes: 2 · 3/4 · 8 GB over two cards of 1 GB/s, and four hops.
  EXPECT_DOUBLE_EQ(all_reduce_seconds(8e9, 4, slow_machine()), 6 + 1);
  EXPECT_EQ(all_reduce_seconds(8e9, 1, slow_machine()), 0);
}

TEST(Scaling, OverlapHidesAllButWhatEndsBehindTheBackwardPass) {
  Machine machine = slow_machine();
  machine.latency = 0;
  // A second each. Ready after 2 and 4 of 4 seconds: the second one is behind the pass. In 1 second they are ready
  // after 0.5 and 1, and the second waits for the first.
  EXPECT_DOUBLE_EQ(exposed_seconds({4e9, 4e9}, 4, 2, machine, true), 1);
  EXPECT_DOUBLE_EQ(exposed_seconds({4e9, 4e9}, 1, 2, machine, true), 1.5);
  EXPECT_DOUBLE_EQ(exposed_seconds({4e9, 4e9}, 4, 2, machine, false), 2);
}

TEST(Scaling, RanksWithoutAShardAreIdle) {
  StageLoad load;
  load.kind = "couple";
  load.unit = "shards";
  load.units = 10;
  load.flops = {989e12, 0};
  Machine machine;
  machine.utilisation = 1;
  const auto idle = [&](std::int64_t ranks) {
    load.ranks = ranks;
    return part_of(time_of(load, machine, true), "too few shards");
  };
  EXPECT_DOUBLE_EQ(idle(5), 0);
  EXPECT_NEAR(idle(4), 0.25 * 0.2, 1e-12);  // three rounds of four, of which ten are of use
  EXPECT_NEAR(idle(20), 0.05, 1e-12);
}

TEST(Scaling, AFewImagesTakeAsLongAsTheirOperations) {
  const StageTime time = time_of(small_training(), of_short_operations(), true);
  EXPECT_DOUBLE_EQ(time.computing, 1);
  EXPECT_NEAR(part_of(time, "few images a GPU"), 6, 1e-9);
}

TEST(Scaling, TheOptimizerReadsAndWritesItsState) {
  StageLoad load = small_training();
  load.averages = 2;
  Machine machine = of_short_operations();
  machine.memory_bandwidth = 4e8;
  // 7 copies and 3 an average, of 4 MB, in each of 100 steps.
  EXPECT_NEAR(part_of(time_of(load, machine, true), "the optimizer's update"), 13, 1e-9);
  load.optimizer_parts = 7;
  EXPECT_NEAR(part_of(time_of(load, machine, true), "the optimizer's update"), 7, 1e-9);
}

TEST(Scaling, CheckpointsAreCopiedAndWrittenBesideTraining) {
  StageLoad load = small_training();
  load.checkpoints = 4;
  load.checkpoint_bytes = 1e9;
  Machine machine = of_short_operations();
  machine.host_copy = 1e10;
  machine.writer = 1e9;
  // Copied in 0.1 s each; written in 1 s each, of the 1.75 s up to the next one; at the end the weights in 4 ms.
  EXPECT_NEAR(part_of(time_of(load, machine, true), "checkpoints"), 0.404, 1e-9);
  machine.writer = 1e8;  // 10 s each
  EXPECT_NEAR(part_of(time_of(load, machine, true), "checkpoints"), 4 * (0.1 + 8.25) + 0.04, 1e-9);
}

TEST(Scaling, ReadingWaitsForNodesAndFileSystem) {
  StageLoad load = small_training();
  load.bytes_read = 1e10;
  Machine machine = of_short_operations();
  machine.gpus = 1;
  machine.client = 1e9;
  EXPECT_NEAR(part_of(time_of(load, machine, true), "reading tables"), 10 - 7, 1e-9);
  load.ranks = 2;  // two nodes read in 5 s, beside 7 s of operations
  EXPECT_EQ(part_of(time_of(load, machine, true), "reading tables"), 0);
  machine.filesystem = 5e8;
  EXPECT_NEAR(part_of(time_of(load, machine, true), "reading tables"), 20 - 7, 1e-9);
}

TEST(Scaling, WhatIsExposedIsLatencyFirst) {
  StageLoad load;
  load.kind = "teacher";
  load.ranks = 2;
  load.units = 8;
  load.rounds = 10;
  load.layout.bucket_bytes = {2e9, 2e9};
  load.flops = {10 * 2 * 3 * 989e12, 0};  // 3 s a step, of which 2 s are the backward pass
  Machine machine = slow_machine();
  machine.utilisation = 1;
  machine.host_latency = 0.125;
  // Each bucket takes 0.5 s for its bytes and 0.5 s for two hops. Without overlap 2 s, half of them hops.
  const StageTime without = time_of(load, machine, false);
  EXPECT_NEAR(part_of(without, "the network's bandwidth"), 10, 1e-9);
  EXPECT_NEAR(part_of(without, "the network's latency"), 10 * (1 + 2 * 0.125), 1e-9);
  // Ready after 1 s and 2 s: the second is behind the pass, 1 s.
  const StageTime with = time_of(load, machine, true);
  EXPECT_NEAR(part_of(with, "the network's bandwidth"), 0, 1e-9);
  EXPECT_NEAR(part_of(with, "the network's latency"), 10 * (1 + 2 * 0.125), 1e-9);
  load.optimizer_parts = 2;  // 4 GB of weights are gathered besides
  EXPECT_NEAR(part_of(time_of(load, machine, true), "the network's bandwidth"), 10, 1e-9);
}

TEST(Scaling, ABatchThatGrowsLeavesCheckpointsAsTheyAre) {
  StageLoad load = small_training();
  load.ranks = 32;
  load.bytes_read = 10e9;
  load.checkpoints = 3;
  load.checkpoint_bytes = 1e9;
  const StageLoad larger = grown(load, {});  // four nodes of 8
  EXPECT_EQ(larger.units, 4 * load.units);
  EXPECT_EQ(larger.flops.bfloat16, 4 * load.flops.bfloat16);
  EXPECT_EQ(larger.bytes_read, 3e9 + 4 * 7e9);
  EXPECT_EQ(larger.checkpoints * larger.checkpoint_bytes, 3e9);
}

TEST(Scaling, TablesSayWhatIsRefusedAndWhatIsNotKnown) {
  StageLoad load = small_training();
  load.units = 48;
  load.ranks = 6;
  EXPECT_EQ(points_json({{load, {}}})[0].at("refused"), false);
  load.slices = 8;
  EXPECT_EQ(points_json({{load, {}}})[0].at("refused"), true);
  EXPECT_NE(load_text({{load, {}}}, {}).find("pipeline.slices: refused, as 8 gradient groups"), std::string::npos);
  load.ranks = 4;
  load.bytes_read = load.opens = 1;
  const nlohmann::json known = points_json({{load, time_of(load, {}, true)}})[0];
  EXPECT_EQ(known.at("refused"), false);
  EXPECT_EQ(known.at("bytes_read"), 1);
  EXPECT_TRUE(known.at("seconds").is_number());
  load.knows_reading = false;
  const nlohmann::json unknown = points_json({{load, {}}})[0];
  for (const char* name : {"bytes_read", "opens", "seconds", "computing", "efficiency"})
    EXPECT_TRUE(unknown.at(name).is_null()) << name;
  EXPECT_NE(load_text({{load, {}}}, {}).find("–"), std::string::npos);
}

TEST(Scaling, AMachineIsReadAndWrongOnesAreRefused) {
  const Machine machine = parse_machine("gpus=4 network-bandwidth=25e9");
  EXPECT_EQ(machine.gpus, 4);
  EXPECT_EQ(machine.network_bandwidth, 25e9);
  EXPECT_EQ(machine.bfloat16, Machine().bfloat16);
  EXPECT_EQ(machine_text(parse_machine(machine_text(machine))), machine_text(machine));
  for (const std::string wrong : {"gpu=4", "gpus", "gpus=", "gpus=0", "gpus=-1", "gpus=4x", "gpus=1.5", "gpus=inf",
                                  "opens=inf", "latency=nan", "utilisation=1.1"}) {
    try {
      parse_machine(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), exit_usage) << wrong;
      EXPECT_NE(std::string(error.what()).find(wrong), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace couplet
