// What training costs each of several ranks: collectives, bytes that come from other ranks, bytes and files that are
// read. None of it may grow with the number of ranks.
#include "pipeline/liveness/activity.h"
#include "pipeline/training/trainer.h"
#include "tests/pipeline/bytes_read.h"
#include "tests/pipeline/pipeline_testing.h"
#include "tests/pipeline/training/regression_task.h"

#include <ATen/ATen.h>
#include <mpi.h>
#include <sys/inotify.h>
#include <torch/nn/modules/linear.h>
#include <unistd.h>

#include <cstring>
#include <map>

namespace {

double received = 0;          ///< bytes that MPI was asked to bring from other ranks
std::int64_t agreements = 0;  ///< times that MPI was asked to let all ranks wait for each other to agree on something

void receive(int count, MPI_Datatype type, int from = 1) {
  int bytes = 0;
  MPI_Type_size(type, &bytes);
  received += static_cast<double>(count) * bytes * from;
}

/// Asked of MPI, which is called before the communicator is there.
bool is_rank(int rank, MPI_Comm among) {
  int own = 0;
  PMPI_Comm_rank(among, &own);
  return own == rank;
}

int others(MPI_Comm among) {
  int size = 1;
  PMPI_Comm_size(among, &size);
  return size - 1;
}

}  // namespace

// They stand before the library's own, as profilers' do.
extern "C" {
int MPI_Allreduce(const void* own, void* sum, int count, MPI_Datatype type, MPI_Op operation, MPI_Comm among) {
  ++agreements;
  receive(count, type);
  return PMPI_Allreduce(own, sum, count, type, operation, among);
}
int MPI_Iallreduce(const void* own, void* sum, int count, MPI_Datatype type, MPI_Op operation, MPI_Comm among,
                   MPI_Request* request) {
  receive(count, type);
  return PMPI_Iallreduce(own, sum, count, type, operation, among, request);
}
int MPI_Bcast(void* values, int count, MPI_Datatype type, int root, MPI_Comm among) {
  if (!is_rank(root, among)) receive(count, type);
  return PMPI_Bcast(values, count, type, root, among);
}
int MPI_Allgather(const void* own, int own_count, MPI_Datatype own_type, void* all, int count, MPI_Datatype type,
                  MPI_Comm among) {
  receive(count, type, others(among));
  return PMPI_Allgather(own, own_count, own_type, all, count, type, among);
}
int MPI_Gather(const void* own, int own_count, MPI_Datatype own_type, void* all, int count, MPI_Datatype type, int root,
               MPI_Comm among) {
  if (is_rank(root, among)) receive(count, type, others(among));
  return PMPI_Gather(own, own_count, own_type, all, count, type, root, among);
}
int MPI_Recv(void* values, int count, MPI_Datatype type, int from, int tag, MPI_Comm among, MPI_Status* status) {
  receive(count, type);
  return PMPI_Recv(values, count, type, from, tag, among, status);
}
int MPI_Irecv(void* values, int count, MPI_Datatype type, int from, int tag, MPI_Comm among, MPI_Request* request) {
  receive(count, type);
  return PMPI_Irecv(values, count, type, from, tag, among, request);
}
}

namespace couplet {
namespace {

/// Two matrices of 1 MiB, each a bucket, and two biases, which share the third.
struct Wide : torch::nn::Module {
  Wide() {
    torch::manual_seed(3);
    first = register_module("first", torch::nn::Linear(512, 512));
    second = register_module("second", torch::nn::Linear(512, 512));
  }
  torch::nn::Linear first{nullptr}, second{nullptr};
};
constexpr std::int64_t buckets = 3, steps = 8, checkpoint_after = 4, batch = 8;
constexpr double mebibyte = 1 << 20, parameter_bytes = 2 * mebibyte + 2 * 512 * 4;
/// Weights, their average and AdamW's two.
constexpr double checkpoint_bytes = 4 * parameter_bytes;
/// Room for what does not depend on the model's size: lengths, digests, checks, headers.
constexpr double small = 0.01 * parameter_bytes;

struct Cost {
  std::int64_t collectives = 0;
  double received = 0, read = 0;

  Cost operator-(const Cost& before) const {
    return {collectives - before.collectives, received - before.received, read - before.read};
  }
};

Cost cost_so_far() {
  return {current_activity().collectives, received, bytes_read()};
}

/// Trains, or goes on from the checkpoint that is there. Returns what it has cost this rank after each step, from the
/// start on.
std::vector<Cost> costs_of_training(const std::filesystem::path& directory, bool sharded) {
  Regression unused(1);
  Wide model;
  TrainingTask task = regression_task(directory, unused, steps, batch);
  task.batch = [](const BatchRange& range) {
    const at::Tensor row = at::arange(range.first, range.first + range.rows, at::kFloat).unsqueeze(1);
    return Batch{(row * at::arange(512, at::kFloat)).sin(), (row + at::arange(512, at::kFloat)).cos()};
  };
  task.loss = [&](const Batch& rows) {
    return at::mse_loss(model.second->forward(at::tanh(model.first->forward(rows[0]))), rows[1]);
  };
  PipelineConfig pipeline = regression_pipeline(checkpoint_after);
  pipeline.bucket_size = 1;
  pipeline.shard_optimizer = sharded;
  const Cost start = cost_so_far();
  std::vector<Cost> costs;
  task.after_step = [&](const Batch&) { costs.push_back(cost_so_far() - start); };
  train(task, model, pipeline, ranks(), at::kCPU);
  return costs;
}

/// Counts how often any process opens each file of a directory.
class Opens {
public:
  explicit Opens(const std::filesystem::path& directory) : events_(::inotify_init1(IN_NONBLOCK)) {
    if (events_ < 0 || ::inotify_add_watch(events_, directory.c_str(), IN_OPEN) < 0)
      throw std::runtime_error(std::string("inotify: ") + std::strerror(errno));
  }
  ~Opens() { ::close(events_); }
  Opens(const Opens&) = delete;
  Opens& operator=(const Opens&) = delete;

  std::map<std::string, int> counted() const {
    std::map<std::string, int> opened;
    alignas(inotify_event) char buffer[1 << 14];
    for (ssize_t bytes = 0; (bytes = ::read(events_, buffer, sizeof buffer)) > 0;) {
      for (const char* at = buffer; at < buffer + bytes;) {
        inotify_event event{};
        std::memcpy(&event, at, sizeof event);
        if (event.len > 0) ++opened[at + sizeof event];
        at += sizeof event + event.len;
      }
    }
    return opened;
  }

private:
  int events_;
};

class RankCosts : public testing::TestWithParam<bool> {
protected:
  bool shares() const { return GetParam() && ranks().size() > 1; }

  SharedDirectory shared;
  std::filesystem::path directory = shared / "run";
};

TEST_P(RankCosts, OfAStepAndOfACheckpoint) {
  const std::vector<Cost> costs = costs_of_training(directory, GetParam());
  ASSERT_EQ(costs.size(), static_cast<std::size_t>(steps));
  // A bucket is reduced once and, where the ranks share the optimizer, gathered once; one more tells how the step went.
  const std::int64_t per_bucket = ranks().size() == 1 ? 0 : shares() ? 2 : 1;
  const Cost step = costs[1] - costs[0];
  EXPECT_EQ(step.collectives, per_bucket * buckets + 1);
  EXPECT_LE(step.received, static_cast<double>(per_bucket) * parameter_bytes + small);
  for (std::size_t i = 2; i < costs.size(); ++i) {
    if (i == checkpoint_after) continue;
    EXPECT_EQ((costs[i] - costs[i - 1]).collectives, step.collectives) << i;
    EXPECT_EQ((costs[i] - costs[i - 1]).received, step.received) << i;
  }
  // Two say that the checkpoint before is written. Rank 0 alone is given the shares of AdamW's two tensors a bucket.
  const Cost with_checkpoint = costs[checkpoint_after] - costs[checkpoint_after - 1];
  EXPECT_EQ(with_checkpoint.collectives - step.collectives, 2 + (shares() ? 2 * buckets : 0));
  const double theirs = shares() && ranks().is_root() ? 2 * parameter_bytes * (ranks().size() - 1) / ranks().size() : 0;
  EXPECT_NEAR(with_checkpoint.received - step.received, theirs, small);
}

TEST_P(RankCosts, OfGoingOn) {
  const Cost fresh = costs_of_training(directory, GetParam()).front();
  ranks().barrier();
  std::optional<Opens> opens;
  if (ranks().is_root()) opens.emplace(directory / "checkpoints" / "step-00000004");
  ranks().barrier();
  const std::vector<Cost> costs = costs_of_training(directory, GetParam());
  ASSERT_EQ(costs.size(), static_cast<std::size_t>(steps - checkpoint_after));
  const Cost more = costs.front() - fresh;
  // Eight say what rank 0 has found, and that it could read it; then come weights, average and AdamW's two.
  EXPECT_EQ(more.collectives, 8 + 4 * buckets);
  EXPECT_NEAR(more.received, ranks().is_root() ? 0 : checkpoint_bytes, small);
  EXPECT_NEAR(costs.front().read, ranks().is_root() ? checkpoint_bytes : 0, 8 * small);
  ranks().barrier();
  if (!opens) return;
  const std::map<std::string, int> once{
      {"ema.safetensors", 1}, {"optimizer.safetensors", 1}, {"state.json", 1}, {"weights.safetensors", 1}};
  EXPECT_EQ(opens->counted(), once);
}

// 10a555e let all ranks wait for each other before each one, for ever: a bucket of a sharded optimizer has one a step.
TEST(LongTraining, GathersPartsWithoutAgreements) {
  at::Tensor tensor = at::zeros({2 * ranks().size()});
  for (int call = 0; call < 1000; ++call) ranks().all_gather_parts(tensor);
  const std::int64_t before = agreements;
  for (int call = 0; call < 50; ++call) ranks().all_gather_parts(tensor);
  EXPECT_LE(agreements - before, 2);
}

// 10a555e copied weights and averages to the host on every rank; rank 0 alone publishes them.
TEST(EndOfTraining, CopiesWeightsOnRankZeroAlone) {
  SharedDirectory shared;
  Regression model(1);
  TrainingTask task = regression_task(shared / "run", model, 2, 8);
  const TrainingResult result = train(task, model, regression_pipeline(0), ranks(), at::kCPU);
  const auto shares_memory = [&](const NamedTensors& tensors) {
    const NamedTensors own = named_tensors(model);
    return std::ranges::any_of(tensors, [&](const auto& entry) {
      return std::ranges::any_of(own, [&](const auto& mine) { return mine.second.is_alias_of(entry.second); });
    });
  };
  ASSERT_FALSE(result.weights.empty());
  EXPECT_EQ(shares_memory(result.weights), !ranks().is_root());
}

INSTANTIATE_TEST_SUITE_P(Optimizer, RankCosts, testing::Bool(),
                         [](const auto& shares) { return shares.param ? "Shared" : "Whole"; });

}  // namespace
}  // namespace couplet
