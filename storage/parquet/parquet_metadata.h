// What the footer of a Parquet file says (parquet.thrift of github.com/apache/parquet-format).
#pragma once

#include "storage/files/file_handle.h"

#include <cstdint>
#include <string>
#include <vector>

namespace couplet {

enum class ParquetType : std::int64_t { int32 = 1, int64 = 2, byte_array = 6 };  ///< those that are read
enum class ParquetPacking : std::int64_t { none = 0, snappy = 1, gzip = 2 };     ///< those that are unpacked

/// A column of plain values, whatever groups it is in.
struct ParquetColumn {
  std::string path;  ///< "image.bytes"
  ParquetType type{};
  std::int64_t optional_levels = 0;  ///< how many of the column and its groups may be missing in a row
  bool is_repeated = false;          ///< a row has a list of them
};

/// The values of one column in one group of rows: pages, one behind the other.
struct ParquetChunk {
  ParquetPacking packing{};
  std::int64_t values = 0;
  std::uint64_t first_byte = 0, bytes = 0;
};

struct ParquetRowGroup {
  std::int64_t rows = 0;
  std::vector<ParquetChunk> chunks;  ///< as many as there are columns
};

struct ParquetMetadata {
  std::int64_t rows = 0;
  std::vector<ParquetColumn> columns;
  std::vector<ParquetRowGroup> groups;
  std::string huggingface;  ///< the text under this key, JSON that Hugging Face's `datasets` writes; "": there is none
};

/// Reads and checks the footer; `what` names the file. Errors: a file that is no Parquet file, is cut short, encrypted
/// or damaged; chunks that lie outside of the file.
ParquetMetadata read_parquet_metadata(const std::string& what, const FileHandle& file);

/// What stands in front of a page.
struct ParquetPage {
  enum class Kind : std::int64_t { data = 0, index = 1, dictionary = 2, data_v2 = 3 };
  Kind kind{};
  std::uint64_t header_bytes = 0, packed_bytes = 0, bytes = 0;
  std::int64_t values = 0;
  std::int64_t encoding = 0;                                 ///< of the values
  std::uint64_t definition_bytes = 0, repetition_bytes = 0;  ///< of data_v2
  bool is_packed = true;
};

/// Reads the header of the page at `offset`, of which at most `most` bytes can be the header and the page.
ParquetPage read_parquet_page(const std::string& what, const FileHandle& file, std::uint64_t offset,
                              std::uint64_t most);

}  // namespace couplet
