// Weights of others: state dicts of PyTorch. The input is read as an archive; or as the pickle of one that is sound,
// and has storages of a few sizes.
#include "storage/formats/state_dict.h"
#include "storage/files/hash.h"
#include "tests/fuzz/fuzzed_file.h"
#include "tests/storage/formats/zip_archive.h"

using namespace couplet;
using namespace couplet::fuzz;

namespace {

void read_weights(std::string_view bytes) {
  const FuzzedFile file(bytes);
  torch_file(file.path());
  read_or_refuse([&] {
    const StateDict read(file.path());
    for (const auto& [name, tensor] : read.tensors()) {
      std::size_t expected = element_size(tensor.type);
      for (const std::int64_t extent : tensor.shape) expected *= static_cast<std::size_t>(extent);
      require(tensor.bytes.size() == expected);
      require(hash64(tensor.bytes) == hash64(std::vector(tensor.bytes.begin(), tensor.bytes.end())));
    }
    require(torch_file(file.path()) == TorchFile::tensors);
  });
}

}  // namespace

void fuzz_input(std::string_view input) {
  if (input.starts_with("PK")) return read_weights(input);
  read_weights(input);
  read_weights(testing::zip_archive({{"m/data.pkl", std::string(input)},
                                     {"m/byteorder", "little"},
                                     {"m/data/0", std::string(24, '\1')},
                                     {"m/data/1", std::string(8, '\2')},
                                     {"m/data/2", ""}}));
}
