#include "launch/inspect/row_export.h"

#include "storage/files/atomic_file.h"
#include "storage/formats/npz.h"

namespace couplet {

namespace {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

std::uint64_t export_bytes(const RowSource& source, const RowSpan& rows) {
  std::uint64_t bytes = 0;
  for (const Column& column : source.columns()) bytes += static_cast<std::uint64_t>(rows.count()) * column.row_bytes();
  return bytes;
}

void export_rows(const RowSource& source, const RowSpan& rows, const std::filesystem::path& path) {
  if (std::filesystem::is_directory(folder_of(path)))
    require_free_space(folder_of(path), export_bytes(source, rows) + npz_overhead, path.filename().string());
  std::vector<NpzArray> arrays;
  for (std::size_t i = 0; i < source.columns().size(); ++i) {
    const Column& column = source.columns()[i];
    arrays.push_back({column.name, column.type, rows.count(), column.shape, source.rows_at_once(),
                      [&source, &rows, i](std::int64_t first, std::int64_t count, std::span<std::byte> out) {
                        source.read(i, rows.first + first, count, out);
                      }});
  }
  write_npz(path, arrays);
}

}  // namespace couplet
