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

std::vector<std::int64_t> whole_shape(std::int64_t rows, std::vector<std::int64_t> row_shape) {
  row_shape.insert(row_shape.begin(), rows);
  return row_shape;
}

class TableArray : public ForeignArray {
public:
  TableArray(const RowTable& table, std::size_t column)
      : ForeignArray(number_type(table.columns()[column].type),
                     whole_shape(table.rows(), table.columns()[column].shape)),
        table_(table),
        column_(column) {}
  void read_next(std::int64_t count, std::span<std::byte> out) override {
    table_.read(column_, next_, count, out);
    next_ += count;
  }

private:
  const RowTable& table_;
  std::size_t column_;
  std::int64_t next_ = 0;
};

class TableArrays : public ForeignFile {
public:
  TableArrays(const std::filesystem::path& directory, const std::string& format) : table_(directory, format) {}
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const Column& column : table_.columns()) names.push_back(column.name);
    return names;
  }
  std::unique_ptr<ForeignArray> open(const std::string& name) override {
    return std::make_unique<TableArray>(table_, table_.column(name));
  }

private:
  RowTable table_;
};

}  // namespace

std::unique_ptr<ForeignFile> open_table_arrays(const std::filesystem::path& directory, const std::string& format) {
  return std::make_unique<TableArrays>(directory, format);
}

}  // namespace couplet
