// The order of LOOM-CFM's exchanges, counted through one by one.
#include "method/couplings/loom_schedule.h"

#include "pipeline/loader/row_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace couplet::testing {
namespace {

constexpr std::int64_t exchanges = 90;

std::vector<LoomSchedule> schedules() {
  std::vector<LoomSchedule> all;
  for (const std::int64_t rows : {7, 12, 22})
    for (const std::int64_t batch : {2, 6, 7})
      for (const std::int64_t resample_every : {0, 1, 3})
        for (const std::int64_t warm_up : {0, 1, 2}) all.push_back({rows, batch, resample_every, warm_up});
  return all;
}

std::string text_of(const LoomSchedule& s) {
  return "rows " + std::to_string(s.rows) + ", batch " + std::to_string(s.batch) + ", resampled every " +
         std::to_string(s.resample_every) + ", warm-up " + std::to_string(s.warm_up_epochs);
}

TEST(LoomSchedule, EveryStepIsOneExchangeOfItsOwnRows) {
  for (const LoomSchedule& schedule : schedules()) {
    SCOPED_TRACE(text_of(schedule));
    std::int64_t next = 0;
    std::set<std::int64_t> positions;
    for (std::int64_t step = 0; step < exchanges; ++step) {
      const std::int64_t generation = schedule.generation_of(step);
      const bool begins = step == 0 || schedule.generation_of(step - 1) != generation;
      EXPECT_EQ(step == schedule.first_step(generation), begins);
      if (begins) {
        EXPECT_EQ(schedule.first_exchange(generation), next);
        for (std::int64_t i = 0; i < schedule.warm_up(); ++i, ++next) {
          EXPECT_EQ(schedule.exchange(next).generation, generation);
          EXPECT_TRUE(positions.insert(schedule.exchange(next).first_position).second) << "no two visits of one number";
        }
      }
      ASSERT_EQ(schedule.exchange_of(step), next);
      const LoomExchange exchange = schedule.exchange(next++);
      EXPECT_EQ(exchange.first_position, step * schedule.batch) << "what training visits";
      EXPECT_EQ(exchange.generation, generation);
      EXPECT_TRUE(positions.insert(exchange.first_position).second);
      const std::int64_t length = schedule.rows * schedule.resample_every;  // of a generation
      EXPECT_EQ(generation, length == 0 ? 0 : step * schedule.batch / length);
    }
  }
}

TEST(LoomSchedule, AWarmUpVisitsEveryRowAsOftenAsItHasEpochs) {
  const LoomSchedule schedule{12, 6, 3, 2};
  RowOrder order(12, 4, 1, 9);
  std::map<std::int64_t, int> visits;
  for (std::int64_t i = 0; i < schedule.warm_up(); ++i)
    for (const std::int64_t row : order.at(schedule.exchange(schedule.first_exchange(1) + i).first_position, 6))
      ++visits[row];
  EXPECT_EQ(visits.size(), 12u);
  for (const auto& [row, count] : visits) EXPECT_EQ(count, 2) << row;
}

// What comes between must not touch the rows: then the exchange can be computed as soon as `after` is in the table.
TEST(LoomSchedule, OnlyExchangesUpToTheOneBeforeHaveTheSameRows) {
  std::int64_t independent = 0;
  for (const LoomSchedule& schedule : schedules()) {
    SCOPED_TRACE(text_of(schedule));
    RowOrder order(schedule.rows, 4, 2, 9);
    std::vector<std::vector<std::int64_t>> rows;
    for (std::int64_t number = 0; number < exchanges; ++number) {
      const LoomExchange exchange = schedule.exchange(number);
      rows.push_back(order.at(exchange.first_position, schedule.batch));
      std::ranges::sort(rows.back());
      ASSERT_LT(exchange.after, number);
      ASSERT_GE(exchange.after, -1);
      EXPECT_GE(exchange.after, schedule.first_exchange(exchange.generation) - 1)
          << "noises drawn anew are in the table";
      for (std::int64_t other = exchange.after + 1; other < number; ++other, ++independent) {
        std::vector<std::int64_t> common;
        std::ranges::set_intersection(rows[static_cast<std::size_t>(other)], rows.back(), std::back_inserter(common));
        EXPECT_TRUE(common.empty()) << other << " and " << number << " have row " << common.front();
        EXPECT_EQ(schedule.exchange(other).generation, exchange.generation);
      }
    }
  }
  EXPECT_GT(independent, 1000) << "exchanges of an epoch do not wait for each other";
}

}  // namespace
}  // namespace couplet::testing
