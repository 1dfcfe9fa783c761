// Data sets of others: IDX files, gzipped or not. The input is read as it is, and what is no gzip file gzipped, too.
#include "storage/formats/idx.h"
#include "tests/fuzz/fuzzed_file.h"

#include <zlib.h>

using namespace couplet;
using namespace couplet::fuzz;

namespace {

std::string gzipped(std::string_view bytes) {
  z_stream stream{};
  require(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  require(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

void read_idx(std::string_view bytes) {
  const FuzzedFile file(bytes);
  read_or_refuse([&] {
    IdxFile idx(file.path());
    const std::vector<std::uint8_t> values = idx.read_all();
    std::size_t expected = 1;
    for (const std::int64_t extent : idx.shape()) expected *= static_cast<std::size_t>(extent);
    require(values.size() == expected);
    idx.require_whole();
  });
  read_or_refuse([&] { IdxFile(file.path()).require_whole(); });
}

}  // namespace

void fuzz_input(std::string_view input) {
  read_idx(input);
  if (!input.starts_with("\x1f\x8b")) read_idx(gzipped(input));
}
