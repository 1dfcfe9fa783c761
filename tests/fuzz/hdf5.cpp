// Pairs of others: HDF5 files.
#include "storage/formats/foreign_array.h"
#include "tests/fuzz/fuzzed_file.h"
#include "tests/fuzz/hdf5_child.h"

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] { read_arrays(*open_hdf5(file.path())); });
  require_sound_children();
}
