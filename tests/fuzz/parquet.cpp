// Parquet files of images, as others write them.
#include "storage/parquet/parquet_images.h"
#include "tests/fuzz/fuzzed_file.h"

#include <algorithm>

using namespace couplet;
using namespace couplet::fuzz;

void fuzz_input(std::string_view input) {
  const FuzzedFile file(input);
  read_or_refuse([&] {
    const ParquetImages images(file.path());
    for (std::int64_t i = 0; i < std::min<std::int64_t>(images.rows(), 100); ++i)
      read_or_refuse([&] { static_cast<void>(images.image(i)); });
    static_cast<void>(images.labels());
  });
}
