#include "launch/inspect/row_source.h"

#include "storage/error.h"
#include "storage/filesystem.h"
#include "storage/tables/filenames.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace couplet {

namespace {

constexpr std::int64_t bytes_at_once = std::int64_t{16} << 20;

bool parse_number(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0;
}

}  // namespace

RowSource::RowSource(const std::filesystem::path& path) : path_(path) {
  if (!is_there(path)) refuse("{} does not exist", path.string());
  if (!std::filesystem::is_directory(path)) {
    first_ = std::make_shared<const RowShard>(open_foreign_shard(path, ""));
    return;
  }
  if (!std::filesystem::exists(path / manifest_name))
    fail("{} is no finished table: it has no {}; give one of its shards to see what is there", path.string(),
         manifest_name);
  table_.emplace(path, "", ReadOptions::foreign());
  first_ = table_->shard(0);
}

std::shared_ptr<const RowShard> RowSource::shard_of(std::int64_t row) const {
  return table_ ? table_->shard(row / table_->plan().shard_rows) : first_;
}

std::int64_t RowSource::row_in_shard(std::int64_t row) const {
  return table_ ? row % table_->plan().shard_rows : row;
}

std::int64_t RowSource::rows() const {
  return table_ ? table_->rows() : first_->header().rows;
}

std::int64_t RowSource::first_row() const {
  return table_ ? 0 : first_->header().first_row;
}

const nlohmann::json& RowSource::summary() const {
  return table_ ? table_->summary() : first_->summary();
}

std::optional<std::size_t> RowSource::find(const std::string& column) const {
  const auto found = std::ranges::find(columns(), column, &Column::name);
  if (found == columns().end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns().begin());
}

void RowSource::read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const {
  if (table_)
    table_->read(column, first, count, out);
  else
    first_->read(column, first, count, out);
}

std::int64_t RowSource::rows_at_once() const {
  std::int64_t row_bytes = 0;
  for (const Column& column : columns()) row_bytes += static_cast<std::int64_t>(column.row_bytes());
  return block_rows() * std::max<std::int64_t>(1, bytes_at_once / (row_bytes * block_rows()));
}

std::optional<double> RowSource::sigma_f() const {
  const nlohmann::json& figures = summary();
  if (!figures.is_object()) return std::nullopt;
  if (table_) {
    const auto found = figures.find("sigma_f");
    return found != figures.end() && found->is_number() ? std::optional(found->get<double>()) : std::nullopt;
  }
  if (!figures.contains("sum_squares") || !figures.contains("values")) return std::nullopt;
  return std::sqrt(figures["sum_squares"].get<double>() / figures["values"].get<double>());
}

RowSpan parse_rows(const std::string& flag, const std::string& text, const RowSource& source) {
  const std::size_t dash = text.find('-');
  RowSpan rows;
  const bool parsed = parse_number(text.substr(0, dash), rows.first) &&
                      (dash == std::string::npos || parse_number(text.substr(dash + 1), rows.last));
  if (dash == std::string::npos) rows.last = rows.first;
  if (!parsed || rows.last < rows.first)
    refuse("--{} {}: expected the number of a row, or of the first and the last one, such as 0-63", flag, text);
  if (rows.last >= source.rows())
    refuse("--{} {}: {} has rows 0 to {}", flag, text, source.path().string(), source.rows() - 1);
  return rows;
}

}  // namespace couplet
