// coupling_read_loom: pairs a second read in a random order, 3x64x64, every byte summed: our loader (float16 noise,
// uint8 image, label; checksums verified) against h5py on the layout of LOOM-CFM (a group a pair, lzf, float32) through
// its own reader, which opens the file for each pair. Needs COUPLET_PEERS/loom-cfm, a checkout of Araachie/loom-cfm,
// and a python3 with h5py (COUPLET_PYTHON). Both read the same pairs' number of rows from a warm cache; the peer's
// start is not counted.
#include "bench/comparison.h"
#include "bench/shards.h"
#include "pipeline/loader/row_stream.h"

#include <cstdio>
#include <cstdlib>

namespace couplet {
namespace {

constexpr std::int64_t size = 64, batch = 256;
constexpr ShardPlan plan{2048, 1024};
constexpr int rounds = 5;

/// Runs bench/loom_reader.py, which prints seconds for the pairs that it read.
double peer(const std::string& words) {
  const char* python = std::getenv("COUPLET_PYTHON");
  const std::string command = fmt::format("'{}' '{}/bench/loom_reader.py' {}",
                                          python != nullptr ? python : "/usr/bin/python3", COUPLET_SOURCE_DIR, words);
  std::FILE* pipe = ::popen(command.c_str(), "r");
  double seconds = 0;
  const bool read = pipe != nullptr && std::fscanf(pipe, "%lf", &seconds) == 1;
  if (pipe == nullptr || ::pclose(pipe) != 0 || !read) fail("{}: did not run", command);
  return seconds;
}

void run() {
  const char* peers = std::getenv("COUPLET_PEERS");
  if (peers == nullptr) {
    fmt::print("bench coupling_read_loom skipped (COUPLET_PEERS is unset)\n");
    return;
  }
  const BenchDirectory folder;
  write_bench_table(folder / "table", plan, size);
  const std::string place =
      fmt::format("'{}/loom-cfm' '{}' {} {}", peers, (folder / "pairs.h5").string(), plan.rows, size);
  peer("make " + place);
  const RowTable table(folder / "table", coupling_format);
  RowStream stream(table, {"noise", "image", "label"}, 4, 1);
  std::vector<double> ours, theirs, ratios;
  std::uint64_t sum = 0;
  for (int round = 0; round <= rounds; ++round) {
    const double our_seconds = seconds_of([&] {
      for (std::int64_t row = 0; row < plan.rows; row += batch)
        for (const at::Tensor& column : stream.read(round * plan.rows + row, batch))
          sum += sum_bytes(column.const_data_ptr(), column.nbytes());
    });
    const double their_seconds = peer("read " + place);
    if (round == 0) continue;
    ours.push_back(static_cast<double>(plan.rows) / our_seconds);
    theirs.push_back(static_cast<double>(plan.rows) / their_seconds);
    ratios.push_back(ours.back() / theirs.back());
  }
  if (sum == 0) fail("nothing was read");
  fmt::print("bench coupling_read_loom ours={:.4g} theirs={:.4g} ratio={:.3f} (pairs/s, higher is better)\n",
             median(ours), median(theirs), median(ratios));
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
