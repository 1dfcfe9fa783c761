// Labels of images as EDM's dataset_tool.py writes them.
#include "method/data/files/dataset_json.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  std::int64_t pairs = 0;
  read_or_refuse([&] {
    const bool has_labels =
        read_dataset_json(std::as_bytes(std::span(input)), "dataset.json", [&](std::string_view, std::int32_t label) {
          require(label >= 0);
          ++pairs;
        });
    require(has_labels || pairs == 0);
  });
}
