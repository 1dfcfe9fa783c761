#include "pipeline/distributed/communicator.h"

#include "pipeline/distributed/agreement.h"
#include "pipeline/distributed/mpi_communicator.h"
#include "pipeline/process/interruption.h"
#include "tests/pipeline/ranks.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <limits>
#include <thread>

// Results in closed form of rank and size.

namespace couplet {
namespace {

constexpr auto reducible = {torch::kFloat32, torch::kFloat64, torch::kInt64};
constexpr auto all_types = {torch::kFloat32, torch::kFloat64, torch::kFloat16,     torch::kBFloat16,
                            torch::kInt64,   torch::kInt32,   torch::kInt16,       torch::kInt8,
                            torch::kUInt8,   torch::kBool,    torch::kComplexFloat};

torch::TensorOptions options(torch::ScalarType type) {
  return torch::TensorOptions().dtype(type).device(test_device());
}

/// 0, 1, 2, … plus `offset`, modulo 100: exact in every type of at least 8 bits.
torch::Tensor numbers(torch::IntArrayRef sizes, torch::ScalarType type, std::int64_t offset) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return (torch::arange(count, torch::kInt64) + offset).remainder(100).to(options(type)).reshape(sizes);
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "in: " << text << "\nnot found: " << part;
}

TEST(Communicator, KnowsItsPlace) {
  EXPECT_GE(ranks().rank(), 0);
  EXPECT_LT(ranks().rank(), ranks().size());
  EXPECT_EQ(ranks().local_rank(), ranks().rank());  // tests run on one host
  EXPECT_EQ(ranks().is_root(), ranks().rank() == 0);
  const auto all = ranks().all_gather(torch::tensor({std::int64_t{ranks().rank()}}));
  EXPECT_TRUE(all.flatten().equal(torch::arange(ranks().size(), torch::kInt64)));
}

TEST(AllReduce, SumsOverRanks) {
  const std::int64_t size = ranks().size();
  for (const auto type : reducible) {
    for (const auto& sizes : {std::vector<std::int64_t>{}, {1}, {5}, {3, 4}, {2, 0}, {1000, 7}}) {
      auto tensor = numbers(sizes, type, 1) * (ranks().rank() + 1);
      const auto expected = numbers(sizes, type, 1) * (size * (size + 1) / 2);
      ranks().all_reduce(tensor);
      EXPECT_TRUE(tensor.equal(expected)) << torch::toString(type) << " " << torch::IntArrayRef(sizes);
    }
  }
}

TEST(AllReduce, WorksInPlaceOnAView) {
  auto whole = torch::zeros({4, 3}, options(torch::kFloat32));
  auto row = whole[2];
  row.fill_(1);
  ranks().all_reduce(row);
  EXPECT_TRUE(whole[2].equal(torch::full({3}, ranks().size(), options(torch::kFloat32))));
  EXPECT_EQ(whole.sum().item<float>(), 3 * static_cast<float>(ranks().size()));
}

TEST(AllReduce, TakesMoreThanOneMessage) {
  const std::int64_t count = (std::int64_t{64} << 20) / 4 + 3;  // a message holds 64 MiB
  auto tensor = torch::full({count}, ranks().rank() + 1, options(torch::kFloat32));
  tensor[count - 1] = -1;
  ranks().all_reduce(tensor);
  const auto size = static_cast<float>(ranks().size());
  EXPECT_EQ(tensor[count - 1].item<float>(), -size);
  EXPECT_EQ(tensor.narrow(0, 0, count - 1).min().item<float>(), size * (size + 1) / 2);
  EXPECT_EQ(tensor.narrow(0, 0, count - 1).max().item<float>(), size * (size + 1) / 2);
}

TEST(AllReduce, RefusesWhatItCannotSum) {
  auto transposed = torch::ones({2, 3}, options(torch::kFloat32)).t();
  expect_contains(error_of([&] { ranks().all_reduce(transposed); }), "not contiguous");
  expect_contains(error_of([&] { ranks().all_reduce(transposed); }), fmt::format("rank {}", ranks().rank()));
  for (const auto type : {torch::kInt32, torch::kBool, torch::kFloat16}) {
    auto tensor = torch::ones({3}, options(type));
    expect_contains(error_of([&] { ranks().all_reduce(tensor); }), torch::toString(type));
  }
  torch::Tensor undefined;
  expect_contains(error_of([&] { ranks().all_reduce(undefined); }), "undefined");
  ranks().barrier();
}

TEST(StartAllReduce, SeveralAreUnderWayAndEndInAnyOrder) {
  const std::int64_t size = ranks().size();
  std::vector<torch::Tensor> tensors;
  std::vector<std::unique_ptr<PendingCollective>> pending;
  for (const auto type : reducible) {
    for (const auto& sizes : {std::vector<std::int64_t>{}, {5}, {2, 0}, {100000, 7}}) {
      tensors.push_back(numbers(sizes, type, 1) * (ranks().rank() + 1));
      pending.push_back(ranks().start_all_reduce(tensors.back()));
    }
  }
  auto between = torch::ones({3}, options(torch::kFloat32));
  ranks().all_reduce(between);
  EXPECT_TRUE(between.eq(size).all().item<bool>());
  for (auto next = pending.rbegin(); next != pending.rend(); ++next) (*next)->wait();
  for (const auto& tensor : tensors) {
    EXPECT_TRUE(tensor.equal(numbers(tensor.sizes(), tensor.scalar_type(), 1) * (size * (size + 1) / 2)));
  }
}

TEST(StartAllReduce, ProgressesInTest) {
  auto tensor = torch::full({1000000}, ranks().rank(), options(torch::kFloat32));
  const auto pending = ranks().start_all_reduce(tensor);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!pending->test() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(pending->test());
  pending->wait();
  pending->wait();
  EXPECT_TRUE(tensor.eq(ranks().size() * (ranks().size() - 1) / 2).all().item<bool>());
}

TEST(StartAllReduce, DroppedItWaits) {
  auto tensor = torch::ones({1000000}, options(torch::kFloat32));
  std::ignore = ranks().start_all_reduce(tensor);
  EXPECT_TRUE(tensor.eq(ranks().size()).all().item<bool>());
}

TEST(StartAllReduce, TakesMoreThanOneMessage) {
  const std::int64_t count = (std::int64_t{64} << 20) / 4 + 3;  // a message holds 64 MiB
  auto tensor = torch::full({count}, ranks().rank() + 1, options(torch::kFloat32));
  tensor[count - 1] = -1;
  ranks().start_all_reduce(tensor)->wait();
  const auto size = static_cast<float>(ranks().size());
  EXPECT_EQ(tensor[count - 1].item<float>(), -size);
  EXPECT_TRUE(tensor.narrow(0, 0, count - 1).eq(size * (size + 1) / 2).all().item<bool>());
}

TEST(StartReduceScatter, SumsEachRanksPart) {
  const std::int64_t size = ranks().size(), rank = ranks().rank();
  std::vector<torch::Tensor> tensors;
  std::vector<std::unique_ptr<PendingCollective>> pending;
  for (const auto type : reducible) {
    for (const auto& sizes : {std::vector<std::int64_t>{size}, {3, size}, {2, 0}, {size, 30011}}) {
      tensors.push_back(numbers(sizes, type, 1) * (rank + 1));
      pending.push_back(ranks().start_reduce_scatter(tensors.back()));
    }
  }
  for (const auto& one : pending) one->wait();
  for (const auto& tensor : tensors) {
    const auto sum = numbers(tensor.sizes(), tensor.scalar_type(), 1) * (size * (size + 1) / 2);
    const auto part = [&](const torch::Tensor& all) {
      return all.flatten().chunk(size)[static_cast<std::size_t>(rank)];
    };
    if (tensor.numel() == 0) continue;
    EXPECT_TRUE(part(tensor).equal(part(sum))) << tensor.sizes();
  }
}

TEST(StartReduceScatter, TakesMoreThanOneMessage) {
  const std::int64_t part = (std::int64_t{64} << 20) / 4 + 3, size = ranks().size(), rank = ranks().rank();
  auto tensor = torch::full({size, part}, rank + 1, options(torch::kFloat32));
  tensor.select(1, part - 1).copy_(torch::arange(size, torch::kFloat32));
  ranks().start_reduce_scatter(tensor)->wait();
  EXPECT_EQ(tensor[rank][part - 1].item<std::int64_t>(), rank * size);
  EXPECT_TRUE(tensor[rank].narrow(0, 0, part - 1).eq(size * (size + 1) / 2).all().item<bool>());
}

TEST(AllGatherParts, GivesEachRanksPartToAll) {
  const std::int64_t size = ranks().size(), rank = ranks().rank();
  for (const auto type : all_types) {
    for (const std::int64_t part : {1, 7, 0}) {
      auto tensor = torch::zeros({part, size}, options(type));
      tensor.view({size, part})[rank] = numbers({part}, type, rank);
      ranks().all_gather_parts(tensor);
      for (std::int64_t from = 0; from < size; ++from) {
        EXPECT_TRUE(tensor.view({size, part})[from].equal(numbers({part}, type, from))) << torch::toString(type);
      }
    }
  }
}

TEST(AllGatherParts, TakesMoreThanOneMessage) {
  const std::int64_t size = ranks().size(), rank = ranks().rank(), part = (std::int64_t{64} << 20) + 3;
  auto tensor = torch::zeros({size, part}, options(torch::kUInt8));
  tensor[rank].fill_(rank + 1);
  ranks().all_gather_parts(tensor);
  for (std::int64_t from = 0; from < size; ++from) EXPECT_TRUE(tensor[from].eq(from + 1).all().item<bool>());
}

TEST(Parts, OfUnequalLengthAreRefused) {
  if (ranks().size() == 1) GTEST_SKIP() << "one part is always as long as itself";
  auto tensor = torch::ones({ranks().size() + 1}, options(torch::kFloat32));
  const auto text = fmt::format("{} elements cannot be cut into {} parts of equal length; pad them to {}",
                                ranks().size() + 1, ranks().size(), 2 * ranks().size());
  expect_contains(error_of([&] { ranks().start_reduce_scatter(tensor); }), text);
  expect_contains(error_of([&] { ranks().all_gather_parts(tensor); }), text);
  auto transposed = torch::ones({ranks().size(), 2}, options(torch::kFloat32)).t();
  expect_contains(error_of([&] { ranks().start_reduce_scatter(transposed); }), "not contiguous");
  expect_contains(error_of([&] { ranks().all_gather_parts(transposed); }), "not contiguous");
  expect_contains(error_of([&] { ranks().start_all_reduce(transposed); }), "not contiguous");
  ranks().barrier();
}

TEST(Broadcast, GivesTheRootsValues) {
  for (int root = 0; root < ranks().size(); ++root) {
    for (const auto type : all_types) {
      for (const auto& sizes : {std::vector<std::int64_t>{}, {6}, {2, 3}, {0}}) {
        auto tensor = numbers(sizes, type, ranks().rank());
        ranks().broadcast(tensor, root);
        EXPECT_TRUE(tensor.equal(numbers(sizes, type, root))) << torch::toString(type) << " from " << root;
      }
    }
  }
}

TEST(Broadcast, FillsViewsAndParameters) {
  auto transposed = numbers({3, 4}, torch::kInt64, ranks().rank()).t();
  ranks().broadcast(transposed, 0);
  EXPECT_TRUE(transposed.equal(numbers({3, 4}, torch::kInt64, 0).t()));
  auto parameter = numbers({3}, torch::kFloat32, ranks().rank()).requires_grad_();
  ranks().broadcast(parameter, 0);
  EXPECT_TRUE(parameter.detach().equal(numbers({3}, torch::kFloat32, 0)));
  EXPECT_TRUE(parameter.is_leaf());
}

TEST(Broadcast, TakesMoreThanOneMessage) {
  const std::int64_t count = (std::int64_t{64} << 20) + 3;
  auto tensor = torch::full({count}, ranks().rank(), options(torch::kUInt8));
  const int root = ranks().size() - 1;
  tensor[count - 1] = ranks().rank() + 10;
  ranks().broadcast(tensor, root);
  EXPECT_EQ(tensor[count - 1].item<int>(), root + 10);
  EXPECT_TRUE(tensor.narrow(0, 0, count - 1).eq(root).all().item<bool>());
}

TEST(Broadcast, RefusesARootThatIsNot) {
  auto tensor = torch::ones({1}, options(torch::kFloat32));
  EXPECT_THROW(ranks().broadcast(tensor, ranks().size()), Error);
  EXPECT_THROW(ranks().broadcast(tensor, -1), Error);
}

TEST(AllGather, StacksInRankOrder) {
  for (const auto type : all_types) {
    for (const auto& sizes : {std::vector<std::int64_t>{}, {5}, {2, 3}, {3, 0}}) {
      const auto all = ranks().all_gather(numbers(sizes, type, ranks().rank()));
      ASSERT_EQ(all.size(0), ranks().size());
      EXPECT_EQ(all.device(), test_device());
      for (int from = 0; from < ranks().size(); ++from) {
        EXPECT_TRUE(all[from].equal(numbers(sizes, type, from))) << torch::toString(type) << " from " << from;
      }
    }
  }
}

TEST(AllGather, TakesViewsAndOwnsItsResult) {
  auto mine = numbers({2, 3}, torch::kFloat32, ranks().rank());
  const auto all = ranks().all_gather(mine.t());
  mine.zero_();
  for (int from = 0; from < ranks().size(); ++from) {
    EXPECT_TRUE(all[from].equal(numbers({2, 3}, torch::kFloat32, from).t()));
  }
}

TEST(AllGather, TakesMoreThanOneMessage) {
  const std::int64_t count = (std::int64_t{64} << 20) / ranks().size() + 5;
  auto tensor = torch::full({count}, ranks().rank(), options(torch::kUInt8));
  tensor[count - 1] = ranks().rank() + 10;
  const auto all = ranks().all_gather(tensor);
  for (int from = 0; from < ranks().size(); ++from) {
    EXPECT_EQ(all[from][count - 1].item<int>(), from + 10);
    EXPECT_TRUE(all[from].narrow(0, 0, count - 1).eq(from).all().item<bool>());
  }
}

TEST(GatherAtRoot, StacksInRankOrderOnRankZeroAlone) {
  for (const auto type : all_types) {
    for (const auto& sizes : {std::vector<std::int64_t>{}, {5}, {2, 3}, {3, 0}}) {
      const auto mine = numbers(sizes, type, ranks().rank());
      const auto all = ranks().gather_at_root(mine);
      EXPECT_TRUE(mine.equal(numbers(sizes, type, ranks().rank())));
      ASSERT_EQ(all.defined(), ranks().is_root());
      if (!ranks().is_root()) continue;
      ASSERT_EQ(all.size(0), ranks().size());
      EXPECT_EQ(all.device(), test_device());
      for (int from = 0; from < ranks().size(); ++from) {
        EXPECT_TRUE(all[from].equal(numbers(sizes, type, from))) << torch::toString(type) << " from " << from;
      }
    }
  }
}

TEST(GatherAtRoot, TakesViewsAndOwnsItsResult) {
  auto mine = numbers({2, 3}, torch::kFloat32, ranks().rank());
  const auto all = ranks().gather_at_root(mine.t());
  EXPECT_TRUE(mine.equal(numbers({2, 3}, torch::kFloat32, ranks().rank())));
  mine.zero_();
  for (int from = 0; ranks().is_root() && from < ranks().size(); ++from) {
    EXPECT_TRUE(all[from].equal(numbers({2, 3}, torch::kFloat32, from).t()));
  }
}

TEST(GatherAtRoot, TakesMoreThanOneMessage) {
  const std::int64_t count = (std::int64_t{64} << 20) + 5;  // a message holds 64 MiB
  auto tensor = torch::full({count}, ranks().rank(), options(torch::kUInt8));
  tensor[count - 1] = ranks().rank() + 10;
  const auto all = ranks().gather_at_root(tensor);
  for (int from = 0; ranks().is_root() && from < ranks().size(); ++from) {
    EXPECT_EQ(all[from][count - 1].item<int>(), from + 10);
    EXPECT_TRUE(all[from].narrow(0, 0, count - 1).eq(from).all().item<bool>());
  }
}

// Messages of reductions that are under way are not mistaken for those that are gathered.
TEST(GatherAtRoot, WorksWhileOthersGoOn) {
  const std::int64_t size = ranks().size(), rank = ranks().rank(), count = (std::int64_t{64} << 20) + 1;
  auto tensor = torch::full({size, 100}, rank + 1, options(torch::kFloat32));
  const auto pending = ranks().start_reduce_scatter(tensor);
  const auto all = ranks().gather_at_root(torch::full({count}, rank, options(torch::kUInt8)));
  pending->wait();
  EXPECT_TRUE(tensor[rank].eq(size * (size + 1) / 2).all().item<bool>());
  for (std::int64_t from = 0; ranks().is_root() && from < size; ++from)
    EXPECT_TRUE(all[from].eq(from).all().item<bool>());
}

TEST(Communicator, AgreesOnTheLargestNumber) {
  EXPECT_EQ(ranks().maximum(ranks().rank() * 10), (ranks().size() - 1) * 10);
  EXPECT_EQ(ranks().maximum(-5 - ranks().rank()), -5);
  const std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(ranks().maximum(lowest), lowest);
  EXPECT_EQ(ranks().maximum(std::numeric_limits<std::int64_t>::max()), std::numeric_limits<std::int64_t>::max());
}

TEST(Communicator, CarriesText) {
  // Empty from rank 1; a zero byte and two bytes of é in the others.
  const auto text_of = [](int rank) {
    return rank == 1 ? std::string() : std::string(static_cast<std::size_t>(rank), 'x') + std::string("\0é", 3);
  };
  for (int root = 0; root < ranks().size(); ++root) {
    EXPECT_EQ(ranks().broadcast_text(text_of(ranks().rank()), root), text_of(root));
  }
  std::vector<std::string> expected;
  for (int from = 0; from < ranks().size(); ++from) expected.push_back(text_of(from));
  EXPECT_EQ(ranks().gather_text(text_of(ranks().rank())), expected);
  EXPECT_EQ(ranks().gather_text(""), std::vector<std::string>(expected.size()));
}

TEST(Communicator, BarrierHoldsAllUntilTheLast) {
  using std::chrono::steady_clock;  // one clock for all processes of a host
  std::this_thread::sleep_for(std::chrono::milliseconds(30) * ranks().rank());
  const std::int64_t entered = steady_clock::now().time_since_epoch().count();
  ranks().barrier();
  const std::int64_t left = steady_clock::now().time_since_epoch().count();
  EXPECT_GE(-ranks().maximum(-left), ranks().maximum(entered));
}

TEST(Communicator, CallsThatDifferAreAnErrorOnEveryRank) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  const int rank = ranks().rank();
  const auto shapes = make_mpi_communicator();
  auto tensor = torch::ones({rank + 1});
  const auto shape_error = error_of([&] { shapes->broadcast(tensor, 0); });
  expect_contains(shape_error, fmt::format("rank {}: broadcast of Float [{}] from rank 0", rank, rank + 1));
  expect_contains(shape_error, rank == 0 ? "rank 1: broadcast of Float [2]" : "rank 0: broadcast of Float [1]");
  const auto types = make_mpi_communicator();
  const auto typed = torch::ones({2}, rank == 0 ? torch::kFloat32 : torch::kInt32);
  expect_contains(error_of([&] { types->all_gather(typed); }), "all_gather of Int [2]");
  const auto gathers = make_mpi_communicator();
  const auto gathered = torch::ones({rank == 0 ? 3 : 4});
  expect_contains(error_of([&] { gathers->gather_at_root(gathered); }), "gather_at_root of Float [4]");
  const auto operations = make_mpi_communicator();
  const auto call = [&] { rank == 0 ? operations->barrier() : static_cast<void>(operations->all_gather(typed)); };
  expect_contains(error_of(call), "barrier");
}

TEST(AllReduce, ShapesThatDifferAreAnErrorOnEveryRank) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto own = make_mpi_communicator();
  auto tensor = torch::ones({ranks().rank() == 0 ? 10 : 10000});
  const auto error = error_of([&] { own->all_reduce(tensor); });
  expect_contains(error, "all_reduce of Float [10]");
  expect_contains(error, "all_reduce of Float [10000]");
}

TEST(StartAllReduce, CallsThatDifferAreAnErrorOnEveryRank) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  const auto lengths = make_mpi_communicator();
  auto tensor = torch::ones({ranks().rank() == 0 ? 12 : 12000});
  const auto error = error_of([&] { lengths->start_all_reduce(tensor); });
  expect_contains(error, "start_all_reduce of Float [12]");
  expect_contains(error, "start_all_reduce of Float [12000]");
  const auto operations = make_mpi_communicator();
  auto same = torch::ones({12});
  const auto call = [&] {
    return ranks().rank() == 0 ? operations->start_all_reduce(same) : operations->start_reduce_scatter(same);
  };
  expect_contains(error_of([&] { call(); }), "start_reduce_scatter of Float [12]");
}

TEST(AllReduce, InALongRunShapesThatDifferAreFoundByTheNextCall) {
  if (ranks().size() == 1) GTEST_SKIP() << "needs two ranks";
  MpiCommunicator own;
  auto number = torch::ones({1});
  for (std::int64_t i = 0; i < MpiCommunicator::checked_repeats; ++i) own.all_reduce(number.fill_(1));
  EXPECT_EQ(number.item<float>(), static_cast<float>(ranks().size()));
  auto tensor = ranks().rank() == 0 ? torch::ones({4}) : torch::ones({2, 2});
  own.all_reduce(tensor);
  EXPECT_EQ(tensor.sum().item<float>(), 4 * static_cast<float>(ranks().size()));
  expect_contains(error_of([&] { own.barrier(); }), "an earlier reduction");
}

// The last one: a request to stop stays.
TEST(Interruption, OneRanksSignalStopsAll) {
  watch_signals();
  EXPECT_FALSE(agree_to_stop(ranks()));
  const bool mine = ranks().rank() == ranks().size() - 1;
  if (mine) kill(getpid(), SIGUSR1);
  for (int i = 0; mine && i < 1000 && !stop_requested(); ++i) usleep(10000);
  EXPECT_EQ(stop_requested(), mine);
  EXPECT_TRUE(agree_to_stop(ranks()));
}

}  // namespace
}  // namespace couplet
