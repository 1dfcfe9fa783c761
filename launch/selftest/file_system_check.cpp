#include "launch/selftest/checks.h"

#include "method/data/dataset.h"
#include "method/tables/coupling_table.h"
#include "pipeline/distributed/agreement.h"
#include "pipeline/tensor/random.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/files/atomic_file.h"
#include "storage/files/file_handle.h"
#include "storage/files/file_lock.h"
#include "storage/tables/row_shard.h"
#include "storage/tables/row_shard_writer.h"
#include "storage/text.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>

namespace couplet {
namespace {

constexpr double all_shards = 1e9;  ///< bytes that the ranks write together, at most
constexpr std::int64_t rows_a_block = 64, most_rows = 1536, image_side = 32;

std::string rank_on(int rank, const std::vector<std::string>& hosts) {
  return fmt::format("rank {} on {}", rank, hosts[static_cast<std::size_t>(rank)]);
}

/// The rank's file of this kind. Each kind has a directory: nobody looks into one in which another writes.
fs::path file_of(const fs::path& directory, int rank) {
  return directory / fmt::format("rank-{:05}.h5", rank);
}

/// Calls `work` on every rank, waits for all, and throws the first failure on all of them, with its rank and host.
void on_all(Communicator& communicator, const std::vector<std::string>& hosts, const std::function<void()>& work) {
  const auto in_words = [&] {
    try {
      work();
    } catch (const fs::filesystem_error& error) {
      fail("{}", words_of(error));
    }
  };
  if (const auto failure = try_on_all(communicator, in_words))
    fail("{}: {}", rank_on(failure->rank, hosts), failure->reason);
}

/// A directory that rank 0 makes and the others must see. Collective.
void make_for_all(Communicator& communicator, const std::vector<std::string>& hosts, const fs::path& directory) {
  on_all(communicator, hosts, [&] {
    if (communicator.is_root()) fs::create_directory(directory);
  });
  on_all(communicator, hosts, [&] {
    if (!is_there(directory))
      fail("{}, which {} has made, is not there; all ranks must share one file system", directory.string(),
           rank_on(0, hosts));
  });
}

/// Files that appear by renaming are there for the next rank, and in the listing of the directory, as soon as the ranks
/// have met.
void check_renaming(Communicator& communicator, const fs::path& directory, const std::vector<std::string>& hosts) {
  const int rank = communicator.rank(), next = (rank + 1) % communicator.size();
  const auto content = [](int of) { return fmt::format("of rank {}\n", of); };
  make_for_all(communicator, hosts, directory);
  on_all(communicator, hosts, [&] { publish_file(file_of(directory, rank), content(rank)); });
  on_all(communicator, hosts, [&] {
    const fs::path theirs = file_of(directory, next);
    if (!is_there(theirs))
      fail(
          "{}, which {} has published, is not there; all ranks must share one file system, and see what others rename "
          "at once",
          theirs.string(), rank_on(next, hosts));
    if (const std::string found = read_file(theirs); found != content(next))
      fail("{} holds \"{}\", not the \"{}\" that {} has published", theirs.string(), found, content(next),
           rank_on(next, hosts));
    const auto files = std::distance(fs::directory_iterator(directory), {});
    if (files != communicator.size())
      fail("{} lists {} files, expected {}: one that each rank has published", directory.string(), files,
           communicator.size());
  });
}

/// What rank 0 locks is locked for the others, and free when it gives it back.
void check_locks(Communicator& communicator, const fs::path& file, const std::vector<std::string>& hosts) {
  std::optional<FileLock> lock;
  on_all(communicator, hosts, [&] {
    if (communicator.is_root()) lock.emplace(file, LockMode::exclusive, file.string());
  });
  on_all(communicator, hosts, [&] {
    if (!communicator.is_root() && FileLock::holder(file).empty())
      fail(
          "{} is locked by {} and free for this rank; a run directory needs POSIX locks that hold on all hosts (NFS: "
          "the lock service; Lustre: mount option flock)",
          file.string(), rank_on(0, hosts));
  });
  lock.reset();
  communicator.barrier();
  on_all(communicator, hosts, [&] {
    if (const std::string holder = communicator.is_root() ? "" : FileLock::holder(file); !holder.empty())
      fail("{} is free, but is locked for this rank by {}", file.string(), holder);
  });
}

/// Made-up rows of a column, the same for the rank that writes them and the one that reads them.
std::vector<std::byte> made_up(const Column& column, std::size_t index, std::int64_t rows, int writer) {
  std::vector<std::byte> bytes(column.row_bytes() * static_cast<std::size_t>(rows));
  Draws draws(static_cast<std::uint64_t>(writer), Purpose::coupling_noise, index);
  std::array<std::uint32_t, 4099> pattern{};  // no multiple of a row's or a block's length
  for (auto& word : pattern) word = draws.bits();
  for (std::size_t at = 0; at < bytes.size(); at += sizeof pattern)
    std::memcpy(bytes.data() + at, pattern.data(), std::min(sizeof pattern, bytes.size() - at));
  return bytes;
}

struct SmallShard {
  std::vector<Column> columns;
  ShardHeader header;

  std::int64_t bytes() const {
    std::size_t row = 0;
    for (const Column& column : columns) row += column.stored_bytes();
    return static_cast<std::int64_t>(row) * header.rows;
  }
};

/// The same on each of so many ranks.
SmallShard small_shard(int ranks) {
  DatasetShape shape;
  shape.channels = 3;
  shape.size = image_side;
  SmallShard shard{coupling_columns(shape, ElementType::float16), {}};
  shard.header = {
      .format = coupling_format, .rows = 1, .block_rows = rows_a_block, .provenance = {{"kind", "selftest"}}};
  const auto fitting = static_cast<std::int64_t>(all_shards / ranks / static_cast<double>(shard.bytes()));
  shard.header.rows = std::clamp<std::int64_t>(fitting, rows_a_block, most_rows);
  return shard;
}

void write_shard(const SmallShard& shard, const fs::path& path, const std::vector<std::vector<std::byte>>& content) {
  Pending pending(path);
  RowShardWriter writer(pending.path(), shard.header, shard.columns);
  for (std::size_t column = 0; column < content.size(); ++column) writer.write(column, 0, content[column]);
  writer.finish({{"rows", shard.header.rows}});
  pending.commit();
}

/// Reads every byte and compares it with its checksum, and with what was written.
void read_shard(const SmallShard& shard, const fs::path& path, int writer) {
  const RowShard read(path, coupling_format);
  std::vector<std::byte> bytes;
  for (std::size_t column = 0; column < shard.columns.size(); ++column) {
    const auto expected = made_up(shard.columns[column], column, shard.header.rows, writer);
    bytes.assign(expected.size(), std::byte{});
    read.read(column, 0, shard.header.rows, bytes);
    if (bytes != expected)
      fail("{}: column {} holds other bytes than were written, though their checksums fit", path.string(),
           shard.columns[column].name);
  }
}

/// Flips one bit of a column in the middle of the file, which a reader must find.
void damage_shard(const SmallShard& shard, const fs::path& path) {
  const std::size_t column = 1;
  std::uint64_t at = 0;
  {
    const RowShard whole(path, coupling_format);
    at = whole.offset(column) + shard.columns[column].row_bytes() * static_cast<std::size_t>(shard.header.rows / 2);
  }
  FileHandle file = FileHandle::open_to_change(path);
  std::array<std::byte, 1> byte{};
  file.read_at(byte, at);
  byte[0] ^= std::byte{1};
  file.write_at(byte, at);
  file.close();
  const RowShard damaged(path, coupling_format);
  std::vector<std::byte> bytes(shard.columns[column].row_bytes() * static_cast<std::size_t>(shard.header.rows));
  try {
    damaged.read(column, 0, shard.header.rows, bytes);
  } catch (const Error&) {
    return;
  }
  fail("{}: byte {} was flipped, and reading the rows has not found it", path.string(), at);
}

/// The seconds that `work` takes on the slowest rank. Collective.
double slowest(Communicator& communicator, const std::vector<std::string>& hosts, const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  on_all(communicator, hosts, work);
  return static_cast<double>(communicator.maximum(static_cast<std::int64_t>(seconds_since(start) * 1e9) + 1)) / 1e9;
}

}  // namespace

Outcome check_files(Communicator& communicator, const fs::path& scratch, const std::vector<std::string>& hosts) {
  const auto start = std::chrono::steady_clock::now();
  try {
    check_renaming(communicator, scratch / "renamed", hosts);
    check_locks(communicator, scratch / "lock", hosts);
  } catch (const Error& error) {  // the same on all ranks
    return failed("{}", error.what());
  }
  return passed("{} published and read by {}; locks {}; {:.2f} s",
                communicator.size() == 1 ? "a file" : fmt::format("{} files", communicator.size()),
                communicator.size() == 1 ? "this rank" : "the next rank",
                communicator.size() == 1 ? "can be taken (two ranks try whether they hold)" : "hold between ranks",
                seconds_since(start));
}

Outcome check_shard(Communicator& communicator, const fs::path& scratch, const std::vector<std::string>& hosts) {
  const int rank = communicator.rank(), next = (rank + 1) % communicator.size();
  const SmallShard shard = small_shard(communicator.size());
  const auto all = static_cast<std::uint64_t>(shard.bytes()) * static_cast<std::uint64_t>(communicator.size());
  const fs::path shards = scratch / "shards";
  double writing = 0, reading = 0;
  try {
    on_all(communicator, hosts, [&] {
      if (communicator.is_root()) require_free_space(scratch, 2 * all, "the selftest's shards");
    });
    make_for_all(communicator, hosts, shards);
    std::vector<std::vector<std::byte>> content;
    for (std::size_t column = 0; column < shard.columns.size(); ++column)
      content.push_back(made_up(shard.columns[column], column, shard.header.rows, rank));
    writing = slowest(communicator, hosts, [&] { write_shard(shard, file_of(shards, rank), content); });
    reading = slowest(communicator, hosts, [&] { read_shard(shard, file_of(shards, next), next); });
    on_all(communicator, hosts, [&] { damage_shard(shard, file_of(shards, rank)); });
    on_all(communicator, hosts, [&] { fs::remove(file_of(shards, rank)); });
  } catch (const Error& error) {  // the same on all ranks
    return failed("{}", error.what());
  }
  const auto rate = [&](double seconds) { return static_cast<double>(all) / seconds / 1e9; };
  return passed(
      "coupling table shards, {} in all: flushed to disk at {:.3g} GB/s, read and verified at {:.3g} GB/s; a "
      "flipped byte is found; {} free",
      bytes_text(static_cast<std::int64_t>(all)), rate(writing), rate(reading),
      bytes_text(static_cast<std::int64_t>(fs::space(scratch).available)));
}

}  // namespace couplet
