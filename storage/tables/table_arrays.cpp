#include "storage/tables/table_arrays.h"

#include "storage/tables/row_table.h"

namespace couplet {
namespace {

NumberType number_type(ElementType type) {
  const char kind = type == ElementType::uint8                                 ? 'u'
                    : type == ElementType::int32 || type == ElementType::int64 ? 'i'
                                                                               : 'f';
  return {kind, element_size(type)};
}

std::vector<std::uint64_t> whole_shape(const RowTable& table, const Column& column) {
  std::vector<std::uint64_t> shape{static_cast<std::uint64_t>(table.rows())};
  for (const std::int64_t extent : column.shape) shape.push_back(static_cast<std::uint64_t>(extent));
  return shape;
}

class TableArray : public ForeignArray {
public:
  TableArray(const std::filesystem::path& directory, const RowTable& table, std::size_t number)
      : TableArray(directory, table, number, table.columns()[number]) {}

private:
  TableArray(const std::filesystem::path& directory, const RowTable& table, std::size_t number, const Column& column)
      : ForeignArray(fmt::format("{}: column '{}'", directory.string(), column.name), number_type(column.type),
                     whole_shape(table, column)),
        table_(table),
        column_(number) {}
  void read_rows(std::int64_t first, std::int64_t count, std::span<std::byte> out) override {
    table_.read(column_, first, count, out);
  }

  const RowTable& table_;
  std::size_t column_;
};

class TableArrays : public ForeignFile {
public:
  TableArrays(const std::filesystem::path& directory, const std::string& format)
      : directory_(directory), table_(directory, format, ReadOptions::foreign()) {}
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const Column& column : table_.columns()) names.push_back(column.name);
    return names;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    return std::make_unique<TableArray>(directory_, table_, table_.column(name));
  }

private:
  std::filesystem::path directory_;
  RowTable table_;
};

}  // namespace

std::unique_ptr<ForeignFile> open_table_arrays(const std::filesystem::path& directory, const std::string& format) {
  return std::make_unique<TableArrays>(directory, format);
}

}  // namespace couplet
