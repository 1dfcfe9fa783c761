// The table of the coupling loom against its authors' layout, a file a row with the row's k noise seeds in it (numpy's
// bytes, without torch.save's own cost), both from a warm cache:
// loom_table_steps: rows of a batch a second, each step reading the noises of a random batch's rows, exchanging them
//   among it, and leaving a state that a checkpoint could take.
// loom_table_publish: rows a second of the whole table that are written so that another program can read them.
// loom_table_bytes: bytes on the disk a row, as blocks are counted (theirs over ours).
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "method/tables/seeds_table_writer.h"
#include "method/transport/noise_slots.h"
#include "method/transport/slot_history.h"
#include "pipeline/tensor/random.h"
#include "storage/error.h"
#include "storage/files/file_handle.h"

#include <sys/stat.h>

#include <span>

namespace couplet {
namespace {

constexpr std::int64_t rows = 8192, slots_a_row = 4, batch = 256, steps = 32;
constexpr int rounds = 5;

fs::path row_file(const fs::path& folder, std::int64_t row) {
  return folder / fmt::format("{:09d}.pt", row);
}

void write_row(const fs::path& folder, std::int64_t row, std::span<const std::int64_t> seeds) {
  FileHandle file = FileHandle::create(row_file(folder, row));
  file.write_at(std::as_bytes(seeds), 0);
  file.close();
}

void write_files(const fs::path& folder) {
  fs::create_directories(folder);
  std::vector<std::int64_t> seeds(slots_a_row);
  for (std::int64_t row = 0; row < rows; ++row) write_row(folder, row, seeds);
}

SeedRows all_rows(const NoiseSlots& table) {
  SeedRows all;
  for (std::int64_t slot = 0; slot < table.size(); ++slot)
    all.add(table.ids()[static_cast<std::size_t>(slot)], 0, slot / slots_a_row, false);
  return all;
}

/// What a step exchanges: rows of the table, and who of the batch takes whose noise.
struct Step {
  std::vector<std::int64_t> rows, taken;
};

std::vector<Step> drawn_steps() {
  std::vector<Step> all;
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto index = static_cast<std::uint64_t>(step);
    Step one{permutation(rows, 1, Purpose::row_order, index), permutation(batch, 2, Purpose::row_order, index)};
    one.rows.resize(batch);
    all.push_back(std::move(one));
  }
  return all;
}

void step_in_memory(NoiseSlots& table, SlotHistory& history, const Step& step, std::int64_t number) {
  const DrawnSlots drawn = draw_slots(step.rows, slots_a_row, 1, number * batch);
  const std::vector<std::int64_t> ids = table.exchange(drawn, step.taken);
  history.add(drawn.slot, ids);
  if (history.state().size() != 3) fail("a state is missing");
}

void step_in_files(const fs::path& folder, const Step& step, std::int64_t number) {
  const DrawnSlots drawn = draw_slots(step.rows, slots_a_row, 1, number * batch);
  std::vector<std::vector<std::int64_t>> seeds;
  for (const std::int64_t row : step.rows) {
    const FileHandle file = FileHandle::open_to_read(row_file(folder, row));
    file.read_at(std::as_writable_bytes(std::span(seeds.emplace_back(slots_a_row))), 0);
  }
  const auto seed_in = [&](std::int64_t i) -> std::int64_t& {
    return seeds[static_cast<std::size_t>(i)]
                [static_cast<std::size_t>(drawn.slot[static_cast<std::size_t>(i)] % slots_a_row)];
  };
  std::vector<std::int64_t> before;
  for (std::int64_t i = 0; i < batch; ++i) before.push_back(seed_in(i));
  for (std::int64_t i = 0; i < batch; ++i) {
    seed_in(i) = before[static_cast<std::size_t>(step.taken[static_cast<std::size_t>(i)])];
    write_row(folder, step.rows[static_cast<std::size_t>(i)], seeds[static_cast<std::size_t>(i)]);
  }
}

double disk_bytes(const fs::path& folder) {
  double bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0) fail("{}: cannot be looked at", entry.path().string());
    bytes += 512.0 * static_cast<double>(status.st_blocks);
  }
  return bytes;
}

void run() {
  const BenchDirectory folder;
  NoiseSlots table(rows * slots_a_row);
  SlotHistory history(table.ids(), 0);
  write_files(folder / "files");
  const std::vector<Step> drawn = drawn_steps();
  compare_rates(
      "loom_table_steps", "rows/s", static_cast<double>(steps * batch), rounds,
      [&] {
        for (std::int64_t i = 0; i < steps; ++i) step_in_memory(table, history, drawn[static_cast<std::size_t>(i)], i);
      },
      [&] {
        for (std::int64_t i = 0; i < steps; ++i) step_in_files(folder / "files", drawn[static_cast<std::size_t>(i)], i);
      });
  compare_rates(
      "loom_table_publish", "rows/s", static_cast<double>(rows), rounds,
      [&] {
        publish_seeds(folder / "seeds", all_rows(table), {{"kind", "bench"}});
      },
      [&] { write_files(folder / "files"); });
  const double ours = disk_bytes(folder / "seeds") / rows, theirs = disk_bytes(folder / "files") / rows;
  fmt::print("bench loom_table_bytes ours={:.4g} theirs={:.4g} ratio={:.3f} (bytes a row, theirs over ours)\n", ours,
             theirs, theirs / ours);
}

}  // namespace
}  // namespace couplet

int main() {
  couplet::run();
}
