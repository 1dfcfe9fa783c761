// file_rows SOURCE SIZE SKIP OUT: the rows that the source `files` makes, training first. Prints what it notes, each
// line behind a '#', then of each row its line of files.tsv and its class; writes the values [C, H, W] of all rows to
// OUT. A refusal is printed, with exit status 1.
#include "method/data/image_source.h"
#include "pipeline/tensor/tensor_bytes.h"
#include "storage/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace couplet {
namespace {

void print_rows(const std::vector<std::string>& arguments) {
  SourceOptions options;
  options.folder = arguments.at(0);
  options.files.size = std::stoll(arguments.at(1));
  options.files.skip_broken = arguments.at(2) == "skip";
  const ImageSource source = find_source("files").open(options);
  for (const std::string& note : source.notes) fmt::print("#{}\n", note);
  std::ofstream out(arguments.at(3), std::ios::binary);
  constexpr std::int64_t at_once = 64;
  for (SourceImages* split : {source.train.get(), source.test.get()})
    for (std::int64_t first = 0; first < split->shape().images; first += at_once) {
      const std::int64_t count = std::min(at_once, split->shape().images - first);
      for (std::int64_t i = first; i < first + count; ++i)
        fmt::print(">{}\t{}\n", split->file_line(i), split->label(i));
      const at::Tensor rows = split->read(first, count);
      const auto bytes = bytes_of(rows);
      out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
}

}  // namespace
}  // namespace couplet

int main(int argc, char** argv) {
  try {
    couplet::print_rows({argv + 1, argv + argc});
    return 0;
  } catch (const couplet::Error& error) {
    fmt::print("{}\n", error.what());
    return 1;
  }
}
