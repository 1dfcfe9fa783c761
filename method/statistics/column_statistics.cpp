#include "method/statistics/column_statistics.h"

#include "storage/error.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

namespace couplet {

namespace {

constexpr std::size_t most_different_values = 1000;

}  // namespace

ColumnStatistics::ColumnStatistics(const Column& column)
    : type_(column.type),
      counted_(column.shape.empty() &&
               (type_ == ElementType::uint8 || type_ == ElementType::int32 || type_ == ElementType::int64)) {}

void ColumnStatistics::add_value(double value) {
  if (!std::isfinite(value)) {
    ++nonfinite_;
    return;
  }
  if (count_++ == 0) minimum_ = maximum_ = value;
  minimum_ = std::min(minimum_, value);
  maximum_ = std::max(maximum_, value);
  const double difference = value - mean_;
  mean_ += difference / static_cast<double>(count_);
  squares_ += difference * (value - mean_);
}

template <class Value>
void ColumnStatistics::add_values(std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at + sizeof(Value) <= bytes.size(); at += sizeof(Value)) {
    Value value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    add_value(static_cast<double>(value));
    if constexpr (std::is_integral_v<Value>)
      if (counted_) ++histogram_[static_cast<std::int64_t>(value)];
  }
  if (histogram_.size() > most_different_values) {
    counted_ = false;
    histogram_.clear();
  }
}

void ColumnStatistics::add(std::span<const std::byte> bytes) {
  switch (type_) {
    case ElementType::uint8:
      return add_values<std::uint8_t>(bytes);
    case ElementType::int32:
      return add_values<std::int32_t>(bytes);
    case ElementType::int64:
      return add_values<std::int64_t>(bytes);
    case ElementType::float16:
      return add_values<c10::Half>(bytes);
    case ElementType::bfloat16:
      return add_values<c10::BFloat16>(bytes);
    case ElementType::float32:
      return add_values<float>(bytes);
    case ElementType::float64:
      return add_values<double>(bytes);
  }
  fail("element type {} is not known here", static_cast<int>(type_));
}

nlohmann::ordered_json ColumnStatistics::to_json() const {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (count_ + nonfinite_ == 0) return json;
  json["mean"] = mean_;
  json["variance"] = count_ > 0 ? squares_ / static_cast<double>(count_) : 0;
  json["minimum"] = minimum_;
  json["maximum"] = maximum_;
  json["nonfinite"] = nonfinite_;
  if (counted_)
    for (const auto& [value, count] : histogram_) json["histogram"][std::to_string(value)] = count;
  return json;
}

}  // namespace couplet
