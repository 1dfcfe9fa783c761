// The model of scaling, worked out by hand where it is small enough.
#include "stages/cost/scaling.h"

#include "storage/error.h"

#include <gtest/gtest.h>

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
    for (const TimePart& part : time_of(load, machine, true).parts)
      if (part.what == "too few shards") return part.seconds;
    return -1.0;
  };
  EXPECT_DOUBLE_EQ(idle(5), 0);
  EXPECT_NEAR(idle(4), 0.25 * 0.2, 1e-12);  // three rounds of four, of which ten are of use
  EXPECT_NEAR(idle(20), 0.05, 1e-12);
  EXPECT_EQ(time_of(load, machine, true).useful_ranks, 10);
}

TEST(Scaling, AFewImagesTakeAsLongAsTheirOperations) {
  StageLoad load;
  load.kind = "teacher";
  load.units = 8;
  load.rounds = 100;
  load.layout = {.tensors = 10, .bytes = 4e6, .trained_bytes = 4e6, .bucket_bytes = {4e6}};
  load.flops = {989e12, 0};
  Machine machine;
  machine.utilisation = 1;
  machine.kernel = 1e-3;
  const StageTime time = time_of(load, machine, true);  // 10 ms of products, 70 operations of 1 ms
  EXPECT_DOUBLE_EQ(time.computing, 1);
  ASSERT_FALSE(time.parts.empty());
  for (const TimePart& part : time.parts)
    if (part.what == "few images a GPU") {
      EXPECT_NEAR(part.seconds, 6, 1e-9);
    }
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
