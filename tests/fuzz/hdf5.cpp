// Pairs of others: HDF5 files; and the filter lzf by itself, as few inputs hold a chunk that it packed.
#include "storage/formats/foreign_array.h"
#include "storage/formats/hdf5_lzf.h"
#include "tests/fuzz/fuzzed_file.h"
#include "tests/fuzz/hdf5_child.h"

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] { read_arrays(*open_hdf5(file.path())); });
  read_or_refuse([&] { read_arrays(*open_hdf5_tree(file.path())); });
  // A copy of 3 bytes gives 264 bytes at most.
  if (const auto unpacked = unpack_lzf(std::as_bytes(std::span(input)))) require(unpacked->size() <= 88 * input.size());
  require_sound_children();
}
