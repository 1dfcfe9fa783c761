// The table of LOOM-CFM: its steps against those of the authors' program, what a batch draws, what it may exchange, and
// the states that checkpoints take.
#include "method/transport/noise_slots.h"

#include "method/transport/slot_history.h"
#include "pipeline/tensor/random.h"
#include "tests/method/reference.h"
#include "tests/storage/storage_testing.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace couplet::testing {
namespace {

using Numbers = std::vector<std::int64_t>;

Numbers numbers_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kLong).flatten().contiguous();
  return {flat.const_data_ptr<std::int64_t>(), flat.const_data_ptr<std::int64_t>() + flat.numel()};
}

/// Rows of a batch that all take part.
DrawnSlots distinct_slots(const Numbers& slots) {
  DrawnSlots drawn{slots, Numbers(slots.size())};
  std::iota(drawn.first.begin(), drawn.first.end(), 0);
  return drawn;
}

/// The reference knows noises by random seeds, drawn when a row is first met: here they are what our ids stand for.
class ReferenceSteps {
public:
  explicit ReferenceSteps(int ranks) : ranks_(ranks), table_(file_.size("table_rows") * slots_a_row_) {}

  void run() {
    for (std::int64_t step = 0; step < file_.size("steps"); ++step) {
      SCOPED_TRACE(fmt::format("{} ranks, step {}", ranks_, step));
      step_ = fmt::format("ranks{}.step{}.", ranks_, step);
      draw_seeds();
      exchange();
      expect_table();
    }
  }

private:
  const at::Tensor& given(const char* name) const { return file_[step_ + name]; }

  /// The seeds of the batch's rows are those that the reference uses, drawn anew or kept.
  void draw_seeds() {
    const Numbers index = numbers_of(given("index")), used = numbers_of(given("seeds_used")),
                  exists = numbers_of(given("exists_before"));
    const bool resample = given("resample").item<std::int64_t>() != 0;
    for (std::size_t i = 0; i < index.size(); ++i) {
      for (std::int64_t c = 0; c < slots_a_row_; ++c) {
        const std::int64_t id = table_.ids()[static_cast<std::size_t>(index[i] * slots_a_row_ + c)];
        const std::int64_t seed = used[i * static_cast<std::size_t>(slots_a_row_) + static_cast<std::size_t>(c)];
        if (resample || exists[static_cast<std::size_t>(index[i])] == 0) seed_of_[id] = seed;
        EXPECT_EQ(seed_of_.at(id), seed) << "slot " << c << " of row " << index[i];
      }
    }
  }

  void exchange() {
    const Numbers index = numbers_of(given("index")), number = numbers_of(given("slot"));
    Numbers slots;
    for (std::size_t i = 0; i < index.size(); ++i) slots.push_back(index[i] * slots_a_row_ + number[i]);
    const DrawnSlots drawn = distinct_slots(slots);
    const at::Tensor cost = distances(given("target"), given("noise"));
    EXPECT_LT(difference(cost, given("cost")), 1e-5);
    const Numbers taken = assign_noises(given("target"), given("noise"), drawn);
    EXPECT_EQ(taken, numbers_of(given("assign")));
    EXPECT_TRUE(given("noise").index_select(0, at::tensor(taken)).equal(given("paired_noise")));
    expect_figures(cost, taken);
    table_.exchange(drawn, taken);
  }

  void expect_figures(const at::Tensor& cost, const Numbers& taken) const {
    const at::Tensor columns = at::tensor(taken).unsqueeze(1);
    const double before = cost.diagonal().mean().item<double>(), after = cost.gather(1, columns).mean().item<double>();
    EXPECT_NEAR(given("pre_post_cost")[0].item<double>(), before, 1e-5);
    EXPECT_NEAR(given("pre_post_cost")[1].item<double>(), after, 1e-5);
    std::int64_t swaps = 0;
    for (std::size_t i = 0; i < taken.size(); ++i) swaps += taken[i] != static_cast<std::int64_t>(i);
    EXPECT_EQ(swaps, static_cast<std::int64_t>(given("swaps").item<double>()));
  }

  /// Every row that was ever drawn has the reference's seeds, slot by slot.
  void expect_table() const {
    const at::Tensor after = given("table_after");
    Numbers drawn = numbers_of(given("exists_before"));
    for (const std::int64_t row : numbers_of(given("index"))) drawn[static_cast<std::size_t>(row)] = 1;
    for (std::int64_t row = 0; row < after.size(0); ++row) {
      for (std::int64_t c = 0; c < slots_a_row_ && drawn[static_cast<std::size_t>(row)] != 0; ++c) {
        const std::int64_t id = table_.ids()[static_cast<std::size_t>(row * slots_a_row_ + c)];
        EXPECT_EQ(seed_of_.at(id), after[row][c].item<std::int64_t>()) << "slot " << c << " of row " << row;
      }
    }
  }

  ReferenceFile file_{"loom"};
  int ranks_;
  std::int64_t slots_a_row_ = file_.size("k");
  std::string step_;
  NoiseSlots table_;
  std::map<std::int64_t, std::int64_t> seed_of_;  // by id
};

TEST(NoiseSlots, StepsAreTheReferencesOnOneRankAndOnTwo) {
  for (const int ranks : {1, 2}) ReferenceSteps(ranks).run();
}

TEST(NoiseSlots, ASlotIsAFunctionOfSeedAndPosition) {
  constexpr std::int64_t k = 3, rows = 3000;
  Numbers batch(rows);
  std::iota(batch.begin(), batch.end(), 0);
  const DrawnSlots all = draw_slots(batch, k, 5, 70);
  std::vector<int> counts(k);
  for (std::int64_t i = 0; i < rows; ++i) {
    ASSERT_EQ(all.slot[static_cast<std::size_t>(i)] / k, i) << "one of its own row";
    EXPECT_TRUE(all.takes_part(i));
    ++counts[static_cast<std::size_t>(all.slot[static_cast<std::size_t>(i)] % k)];
  }
  for (const int count : counts) EXPECT_NEAR(count, rows / k, 5 * std::sqrt(rows * (k - 1.0)) / k);
  const DrawnSlots part = draw_slots({batch.begin() + 100, batch.begin() + 130}, k, 5, 170);
  EXPECT_TRUE(std::equal(part.slot.begin(), part.slot.end(), all.slot.begin() + 100));
  EXPECT_NE(draw_slots(batch, k, 6, 70).slot, all.slot);
  EXPECT_NE(draw_slots(batch, k, 5, 71).slot, all.slot);
}

TEST(NoiseSlots, ARowThatComesAgainTakesAnotherSlotOrSitsOut) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const DrawnSlots two = draw_slots({4, 9, 4, 9}, 2, seed, 0);
    EXPECT_EQ(std::set(two.slot.begin(), two.slot.end()), (std::set<std::int64_t>{8, 9, 18, 19}));
    EXPECT_EQ(two.first, (Numbers{0, 1, 2, 3}));
    const DrawnSlots three = draw_slots({4, 4, 4}, 2, seed, 0);
    EXPECT_NE(three.slot[0], three.slot[1]);
    EXPECT_FALSE(three.takes_part(2)) << "it has no third slot";
    EXPECT_EQ(three.slot[static_cast<std::size_t>(three.first[2])], three.slot[2]);
  }
  const DrawnSlots one = draw_slots({4, 9, 4}, 1, 0, 0);
  EXPECT_EQ(one.slot, (Numbers{4, 9, 4}));
  EXPECT_EQ(one.first, (Numbers{0, 1, 0}));
}

/// The least sum of distances over all exchanges of the rows that take part.
double least_sum(const at::Tensor& cost, const Numbers& parts) {
  Numbers columns = parts;
  double least = std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) sum += cost[parts[i]][columns[i]].item<double>();
    least = std::min(least, sum);
  } while (std::ranges::next_permutation(columns).found);
  return least;
}

TEST(NoiseSlots, NoAssignmentHasALesserSumAndTheOthersFollowTheirSlot) {
  at::manual_seed(1);
  const DrawnSlots drawn{{3, 8, 3, 5, 6, 8}, {0, 1, 0, 3, 4, 1}};
  for (int round = 0; round < 20; ++round) {
    const at::Tensor x = at::randn({6, 2, 3}), z = at::randn({6, 2, 3});
    const Numbers taken = assign_noises(x, z, drawn), parts{0, 1, 3, 4};
    const at::Tensor cost = at::cdist(x.flatten(1).to(at::kDouble), z.flatten(1).to(at::kDouble));
    double sum = 0;
    for (const std::int64_t row : parts) sum += cost[row][taken[static_cast<std::size_t>(row)]].item<double>();
    EXPECT_NEAR(sum, least_sum(cost, parts), 1e-5);
    EXPECT_EQ(taken[2], taken[0]);
    EXPECT_EQ(taken[5], taken[1]);
  }
}

TEST(NoiseSlots, AnExchangeKeepsEveryNoise) {
  NoiseSlots table(12);
  at::manual_seed(2);
  for (int round = 0; round < 50; ++round) {
    const Numbers order = numbers_of(at::randperm(12)), taken = numbers_of(at::randperm(5));
    const DrawnSlots drawn = distinct_slots({order.begin(), order.begin() + 5});
    const Numbers before = table.ids(), ids = table.exchange(drawn, taken);
    for (std::size_t i = 0; i < taken.size(); ++i) {
      EXPECT_EQ(ids[i], before[static_cast<std::size_t>(drawn.slot[static_cast<std::size_t>(taken[i])])]);
      EXPECT_EQ(ids[i], table.ids()[static_cast<std::size_t>(drawn.slot[i])]);
    }
    EXPECT_NO_THROW(require_permutation(table.ids()));
    EXPECT_EQ(table.digest(), NoiseSlots(table.ids()).digest()) << "kept up to date";
  }
  EXPECT_NE(table.digest(), NoiseSlots(12).digest());
}

TEST(NoiseSlots, WhatIsNoExchangeIsAnErrorAndChangesNothing) {
  NoiseSlots table(6);
  const DrawnSlots drawn{{2, 4, 2}, {0, 1, 0}};
  expect_error([&] { table.exchange(drawn, {1, 1, 1}); }, {"row 1", "twice"});
  expect_error([&] { table.exchange(drawn, {2, 1, 2}); }, {"row 2", "takes no part"});
  expect_error([&] { table.exchange(drawn, {3, 1, 3}); }, {"row 3"});
  expect_error([&] { table.exchange(drawn, {1, 0, 0}); }, {"rows 0 and 2"});
  expect_error([&] { table.exchange(drawn, {1, 0}); }, {"2 rows", "has 3"});
  EXPECT_EQ(table.ids(), NoiseSlots(6).ids());
  EXPECT_EQ(table.exchange(drawn, {1, 0, 1}), (Numbers{4, 2, 4}));
  expect_error([] { NoiseSlots(Numbers{0, 2, 2}); }, {"noise 2", "two slots"});
  expect_error([] { NoiseSlots(Numbers{0, 3, 1}); }, {"slot 1", "id 3", "0 to 2"});
}

Numbers ids_of_state(const NamedTensors& state) {
  return SlotHistory(state).ids();
}

TEST(NoiseSlots, AStateStaysWhatItWasHoweverManyStepsFollow) {
  constexpr std::int64_t slots = 20;
  at::manual_seed(3);
  Numbers table = NoiseSlots(slots).ids();
  SlotHistory history(table, 0);
  std::vector<NamedTensors> states{history.state()};
  std::vector<Numbers> tables{table};
  const auto note = [&] {
    states.push_back(history.state());
    tables.push_back(table);
  };
  for (int step = 1; step <= 40; ++step) {
    if (step % 9 == 0) {
      table = numbers_of(at::randperm(slots));
      history.add_whole(table);
      note();
      continue;
    }
    const std::int64_t changes = step % 7 == 0 ? 15 : step % 4;  // sometimes more than a state holds besides the table
    const Numbers all = numbers_of(at::randperm(slots)), changed(all.begin(), all.begin() + changes);
    const Numbers ids = numbers_of(at::randint(slots, {changes}, at::kLong));
    for (std::size_t i = 0; i < ids.size(); ++i) table[static_cast<std::size_t>(changed[i])] = ids[i];
    history.add(changed, ids);
    note();
  }
  for (std::size_t step = 0; step < states.size(); ++step) {
    EXPECT_EQ(ids_of_state(states[step]), tables[step]) << step;
    EXPECT_EQ(states[step].at("steps").item<std::int64_t>(), static_cast<std::int64_t>(step));
    SlotHistory restored(states[step]);
    EXPECT_EQ(tensors_hash(restored.state()), tensors_hash(states[step])) << "to the byte";
  }
  NamedTensors broken = states.back();
  broken.erase("changes");
  expect_error([&] { SlotHistory{broken}; }, {"lacks 'changes'"});
  broken["changes"] = at::tensor({slots, std::int64_t{0}}).view({1, 2});
  expect_error([&] { SlotHistory{broken}; }, {"slot 20", "there are 20"});
}

}  // namespace
}  // namespace couplet::testing
