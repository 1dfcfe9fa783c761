// The rows at a path that a user names, which are those of one shard or of a finished table.
#pragma once

#include "storage/tables/row_table.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace couplet {

/// The first and the last row, both inclusive.
struct RowSpan {
  std::int64_t first = 0, last = 0;
  std::int64_t count() const { return last - first + 1; }
};

/// Rows are numbered from 0, in a shard by its own numbers. A shard needs neither manifest nor configuration.
class RowSource {
public:
  /// Refuses a path that is not there; fails where there is neither a shard nor a finished table of ours.
  explicit RowSource(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool is_table() const { return table_.has_value(); }
  const RowTable& table() const { return table_.value(); }
  /// Returns the shard that holds a row, and the row's number in it.
  std::shared_ptr<const RowShard> shard_of(std::int64_t row) const;
  std::int64_t row_in_shard(std::int64_t row) const;

  int format_version() const { return first_->header().format_version; }
  const std::string& format() const { return first_->header().format; }
  std::int64_t rows() const;
  std::int64_t first_row() const;  ///< the number that row 0 has in the whole table
  std::int64_t block_rows() const { return first_->header().block_rows; }
  const nlohmann::json& provenance() const { return first_->header().provenance; }
  const nlohmann::json& summary() const;
  const std::vector<Column>& columns() const { return first_->columns(); }
  std::optional<std::size_t> find(const std::string& column) const;

  void read(std::size_t column, std::int64_t first, std::int64_t count, std::span<std::byte> out) const;
  /// How many rows to read at once: whole blocks, whose columns together have some 16 MiB.
  std::int64_t rows_at_once() const;
  /// The root of the noise's mean square: a table's from its manifest, a shard's from its own summary; nothing where
  /// they do not say it.
  std::optional<double> sigma_f() const;

private:
  std::filesystem::path path_;
  std::optional<RowTable> table_;
  std::shared_ptr<const RowShard> first_;  ///< of the table, or the only one
};

/// Reads "A-B" or "A". Another text and rows that are not there are refused, naming the range that there is.
RowSpan parse_rows(const std::string& flag, const std::string& text, const RowSource& source);

}  // namespace couplet
