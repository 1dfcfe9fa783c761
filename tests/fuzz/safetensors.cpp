// Weights and statistics of others: safetensors files.
#include "storage/formats/safetensors.h"
#include "storage/files/hash.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] {
    const Safetensors read(file.path());
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : read.tensors()) {
      std::size_t expected = element_size(tensor.type);
      for (const std::int64_t extent : tensor.shape) expected *= static_cast<std::size_t>(extent);
      require(tensor.bytes.size() == expected);
      require(hash64(tensor.bytes) == hash64(read.at(name).bytes));
      bytes += expected;
    }
    require(bytes <= input.size());
    read.at("a tensor that is not there");
  });
}
