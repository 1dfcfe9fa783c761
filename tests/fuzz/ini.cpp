// Configurations and cluster profiles of others: INI files.
#include "pipeline/config/ini_file.h"
#include "pipeline/config/options.h"
#include "tests/fuzz/fuzzed_file.h"

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] { read_ini(file.path(), [](const std::string&) { return ""; }); });
  read_or_refuse([&] {
    const Config config = resolve_config(file.path(), {});
    // A run keeps its configuration as a file, which reads back equal.
    const std::string text = to_ini(config);
    const FuzzedFile kept(text);
    require(to_ini(resolve_config(kept.path(), {})) == text);
  });
}
