// prepare_pillow_jpg, prepare_pillow_png: images a second that become rows of 64 x 64: files of 500 x 375 are read,
// decoded and cropped as ADM does, by two threads against the same by Pillow in one process
// (bench/prepare_pillow_peer.py), as the tools of others do it. Pillow is the wheel that scripts/setup installs, which
// brings libraries of its own. prepare_pillow_digits: the share of values that both have in common.
#include "bench/bench_directory.h"
#include "bench/comparison.h"
#include "bench/peer.h"
#include "method/data/crop.h"
#include "storage/files/atomic_file.h"
#include "storage/memory.h"

#include <algorithm>
#include <atomic>
#include <span>
#include <thread>

namespace couplet {
namespace {

constexpr int images = 200, row_size = 64, ranks = 2;
constexpr std::size_t row_bytes = std::size_t{row_size} * row_size * 3;

std::vector<std::uint8_t> prepared_rows(const fs::path& folder, const std::string& format) {
  std::vector<std::uint8_t> rows(images * row_bytes);
  const ResampleFilter& filter = find_resample_filter("box");
  const CropKind& crop = find_crop("adm");
  std::atomic<int> next = 0;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&] {
      for (int i = next++; i < images; i = next++) {
        const std::string bytes = read_file(folder / fmt::format("{}.{}", i, format));
        const Picture row = crop.apply(decode_image(std::as_bytes(std::span(bytes))).picture, row_size, filter);
        std::ranges::copy(row.pixels, rows.begin() + static_cast<std::ptrdiff_t>(i * row_bytes));
      }
    });
  for (std::thread& thread : threads) thread.join();
  return rows;
}

void compare(PeerProcess& peer, const fs::path& folder, const std::string& format) {
  RatePairs rates;
  std::vector<std::uint8_t> rows;
  for (int round = 0; round <= bench_setting("COUPLET_BENCH_ROUNDS", 5); ++round) {
    const double seconds = seconds_of([&] { rows = prepared_rows(folder, format); });
    const double theirs = peer.ask(format);
    if (round > 0) rates.add(images / seconds, images / theirs);
  }
  rates.print("prepare_pillow_" + format, "images/s");
  const std::string their_rows = read_file(folder / ("rows." + format));
  std::size_t equal = 0;
  for (std::size_t i = 0; i < std::min(rows.size(), their_rows.size()); ++i)
    equal += rows[i] == static_cast<std::uint8_t>(their_rows[i]);
  fmt::print("bench prepare_pillow_digits format={} equal={:.6f}\n", format,
             static_cast<double>(equal) / static_cast<double>(rows.size()));
}

}  // namespace
}  // namespace couplet

int main() {
  using namespace couplet;
  keep_freed_memory();
  const BenchDirectory folder;
  PeerProcess peer("prepare_pillow_peer.py",
                   {COUPLET_PYTHON_TOOLS, folder.path().string(), std::to_string(images), std::to_string(row_size)},
                   PeerPython::systems);
  peer.ask("files");
  for (const char* format : {"jpg", "png"}) compare(peer, folder.path(), format);
}
