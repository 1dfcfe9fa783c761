// Problems that ranks solve for each other: who solves what, in which order, and what becomes of an error.
#include "method/couplings/shared_problems.h"

#include "storage/error.h"
#include "tests/pipeline/pipeline_testing.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>

namespace couplet::testing {
namespace {

using Answer = std::vector<std::int64_t>;

using Solve = std::function<Answer(std::int64_t, const std::stop_token&)>;

SharedProblems::Rules rules(std::int64_t answer_size, Solve solve) {
  return {.answer_size = answer_size,
          .name = [](std::int64_t problem) { return "problem " + std::to_string(problem); },
          .solve = std::move(solve),
          .after = {}};
}

TEST(SharedProblems, EachIsSolvedByItsOwnerAndAnsweredOnAllRanks) {
  std::vector<std::int64_t> solved;
  {
    SharedProblems problems(ranks(), 5, rules(2, [&](std::int64_t problem, const std::stop_token&) {
                              solved.push_back(problem);
                              return Answer{problem * problem, ranks().rank()};
                            }));
    for (std::int64_t problem = 5; problem < 25; ++problem) {
      EXPECT_EQ(problems.number(), problem);
      EXPECT_EQ(problems.next(77), (Answer{problem * problem, problem % ranks().size()}));
    }
  }
  ASSERT_GE(solved.size(), 20u / static_cast<unsigned>(ranks().size()));
  for (std::size_t i = 0; i < solved.size(); ++i) {
    EXPECT_EQ(solved[i] % ranks().size(), ranks().rank());
    EXPECT_EQ(solved[i], solved[0] + static_cast<std::int64_t>(i) * ranks().size()) << "in order, without holes";
  }
}

// Answer n is made from that of n - 1: any that is solved too early is wrong.
TEST(SharedProblems, WhatDependsOnAnAnswerIsSolvedWhenThatIsInUse) {
  std::atomic<std::int64_t> sum = 0;
  SharedProblems::Rules dependent =
      rules(1, [&](std::int64_t problem, const std::stop_token&) { return Answer{sum + problem}; });
  dependent.after = [](std::int64_t problem) { return problem - 1; };
  SharedProblems problems(ranks(), 0, dependent);
  std::int64_t expected = 0;
  for (std::int64_t problem = 0; problem < 30; ++problem) {
    expected += problem;
    const Answer answer = problems.next();
    EXPECT_EQ(answer, Answer{expected});
    sum = answer[0];
    problems.settle();
  }
  // The next ones wait for ever; the end must not.
}

TEST(SharedProblems, AnErrorOfTheOwnerIsThrownOnAllRanks) {
  SharedProblems problems(ranks(), 0, rules(1, [&](std::int64_t problem, const std::stop_token&) {
                            if (problem == 3) refuse("wrong on rank {}", ranks().rank());
                            return Answer{problem};
                          }));
  for (std::int64_t problem = 0; problem < 3; ++problem) EXPECT_EQ(problems.next(), Answer{problem});
  try {
    problems.next();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()), "problem 3: wrong on rank " + std::to_string(3 % ranks().size()));
    EXPECT_EQ(error.status(), exit_usage);
  }
}

TEST(SharedProblems, RanksThatHaveLearntOtherThingsAreFound) {
  SharedProblems problems(ranks(), 0, rules(1, [](std::int64_t, const std::stop_token&) { return Answer{0}; }));
  const bool last = ranks().rank() == ranks().size() - 1;
  const std::string error = error_of([&] { problems.next(last && ranks().size() > 1 ? 1 : 2); });
  if (last && ranks().size() > 1)
    expect_contains(error, "problem 0");
  else
    EXPECT_EQ(error, "no error");
}

TEST(SharedProblems, AnAnswerOfTheWrongSizeIsAnError) {
  SharedProblems problems(ranks(), 0, rules(3, [](std::int64_t, const std::stop_token&) { return Answer{0}; }));
  expect_contains(error_of([&] { problems.next(); }), "has 1 numbers; expected 3");
}

}  // namespace
}  // namespace couplet::testing
