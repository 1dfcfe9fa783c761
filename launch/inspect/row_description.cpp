#include "launch/inspect/row_description.h"

#include "method/statistics/column_statistics.h"
#include "method/statistics/coupling_statistics.h"
#include "method/tables/coupling_table.h"
#include "storage/text.h"

#include <fmt/ranges.h>

#include <cstring>

namespace couplet {

namespace {

using Json = nlohmann::ordered_json;

bool is_float(ElementType type) {
  return type == ElementType::float16 || type == ElementType::float32 || type == ElementType::float64;
}

/// The one value of a row.
Json value_json(ElementType type, std::span<const std::byte> bytes) {
  const auto whole = [&]<class Value>(Value value) {
    std::memcpy(&value, bytes.data(), sizeof value);
    return Json(value);
  };
  switch (type) {
    case ElementType::uint8:
      return whole(std::uint8_t{});
    case ElementType::int32:
      return whole(std::int32_t{});
    case ElementType::int64:
      return whole(std::int64_t{});
    case ElementType::float64:
      return whole(double{});
    default:
      std::vector<float> values;
      to_floats(type, bytes, values);
      return values.at(0);
  }
}

Json figures_json(const Column& column, std::span<const std::byte> bytes) {
  ColumnStatistics statistics(column);
  statistics.add(bytes);
  return statistics.to_json();
}

Json describe_noise(const RowSource& source, const Column& column, std::span<const std::byte> bytes) {
  Json json = figures_json(column, bytes);
  const auto sigma = source.sigma_f();
  if (!sigma) return json;
  std::vector<float> values;
  to_floats(column.type, bytes, values);
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * static_cast<double>(value);
  json["sigma_f"] = *sigma;
  json["z_squared_per_value"] = squares / (*sigma * *sigma) / static_cast<double>(values.size());
  return json;
}

std::string text_of(const Json& value) {
  return value.is_number_float() ? fmt::format("{:.6g}", value.get<double>()) : value.dump();
}

}  // namespace

Json describe_row(const RowSource& source, std::int64_t row) {
  const std::shared_ptr<const RowShard> file = source.shard_of(row);
  const RowShard& shard = *file;
  const std::int64_t in_shard = source.row_in_shard(row);
  Json json{{"path", utf8_text(source.path().string())},
            {"row", row},
            {"row_of_table", source.first_row() + row},
            {"file", utf8_text(shard.path().string())},
            {"row_of_file", in_shard},
            {"columns", Json::object()},
            {"bytes", Json::object()}};
  for (std::size_t i = 0; i < source.columns().size(); ++i) {
    const Column& column = source.columns()[i];
    std::vector<std::byte> bytes(column.row_bytes());
    source.read(i, row, 1, bytes);
    json["columns"][column.name] =
        column.shape.empty() ? value_json(column.type, bytes)
        : source.format() == coupling_format && column.name == "noise" && is_float(column.type)
            ? describe_noise(source, column, bytes)
            : figures_json(column, bytes);
    const std::uint64_t first = shard.offset(i) + static_cast<std::uint64_t>(in_shard) * bytes.size();
    json["bytes"][column.name] = {{"first", first}, {"count", bytes.size()}};
  }
  return json;
}

void print_row(const Json& description) {
  fmt::print("row {} of {}: row {} of the table, row {} of {}\n", description.at("row").get<std::int64_t>(),
             description.at("path").get<std::string>(), description.at("row_of_table").get<std::int64_t>(),
             description.at("row_of_file").get<std::int64_t>(), description.at("file").get<std::string>());
  for (const auto& [name, value] : description.at("columns").items()) {
    std::vector<std::string> figures;
    if (value.is_object())
      for (const auto& [figure, number] : value.items())
        figures.push_back(fmt::format("{} {}", figure, text_of(number)));
    const Json& bytes = description.at("bytes").at(name);
    fmt::print("  {:<12} {}   (bytes {} to {} of the file)\n", name,
               value.is_object() ? fmt::format("{}", fmt::join(figures, ", ")) : text_of(value),
               bytes.at("first").get<std::uint64_t>(),
               bytes.at("first").get<std::uint64_t>() + bytes.at("count").get<std::uint64_t>() - 1);
  }
}

}  // namespace couplet
