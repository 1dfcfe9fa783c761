// couplet import: couplings made elsewhere as a coupling table.
#include "launch/commands/commands.h"

#include "method/tables/coupling_import.h"
#include "storage/files/atomic_file.h"
#include "storage/tables/row_shard_layout.h"

namespace couplet {

CommandSyntax import_syntax() {
  return {
      .name = "import",
      .arguments = "SOURCE",
      .summary = "make a coupling table of noise and images that were paired elsewhere",
      .flags = {{"output", "DIR", "directory of the new table; it must not exist"},
                {"shard-rows", "N", "rows a shard, a multiple of --block-rows (8192)"},
                {"block-rows", "N", "rows that one checksum covers, the unit of reading (256)"}},
      .takes_keys = false,
      .notes =
          "SOURCE is an .npz or HDF5 file, a zip archive or a folder of .npy and .npz files, a file X.npy beside\n"
          "X_noise.npy, or the directory of a coupling table. Arrays are found by name: noise (z, z0, source), image\n"
          "(x, z1, target) and label (y), or X, X_noise and X_label, in groups and folders too, whose rows follow\n"
          "each other. Noise is float16, float32 or float64 [N, C, S, S]; images are grey values, or floats as models\n"
          "see them, on [-1, 1]; labels are integers [N], without which every label is 0. Channels may come last.\n"
          "NaN, infinite values and negative labels are refused, and so is an array that is not whole: HDF5 chunks\n"
          "that were never written, sources of a virtual data set that are missing. docs/coupling-table.md has all.\n"};
}

namespace {

ImportLayout parse_layout(const CommandLine& line) {
  ImportLayout layout;
  layout.shard_rows = line.integer("shard-rows", layout.shard_rows, 1);
  layout.block_rows = line.integer("block-rows", layout.block_rows, 1);
  if (layout.shard_rows % layout.block_rows != 0)
    refuse("--shard-rows {} is not a multiple of --block-rows {}", layout.shard_rows, layout.block_rows);
  return layout;
}

void require_room(const ImportSource& source, const std::filesystem::path& parent) {
  double bytes = 0;
  for (const Column& column : source.columns())
    bytes += static_cast<double>(column.stored_bytes()) * static_cast<double>(source.rows()) * shard_overhead;
  require_free_space(parent, static_cast<std::uint64_t>(bytes), "the coupling table");
}

}  // namespace

int import_command(const std::vector<std::string>& words) {
  const CommandLine line(import_syntax(), words);
  if (line.help()) {
    fmt::print("{}", help_text(import_syntax()));
    return exit_ok;
  }
  const std::filesystem::path output = line.required("output");
  const ImportLayout layout = parse_layout(line);
  require_absent(output);
  ImportSource source(line.argument());
  for (const std::string& note : source.notes()) fmt::print("{}\n", note);
  // The whole directory is published at once.
  Pending pending(output);
  require_room(source, pending.path().parent_path());
  std::filesystem::create_directory(pending.path());
  const double sigma_f = import_coupling(source, pending.path(), layout);
  pending.commit();
  fmt::print("{}: {} rows, sigma_f {:.6g}, from {}\n", output.string(), source.rows(), sigma_f, line.argument());
  return exit_ok;
}

}  // namespace couplet
