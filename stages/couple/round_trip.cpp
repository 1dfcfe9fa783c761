#include "stages/couple/round_trip.h"

#include "method/models/patches.h"
#include "method/tables/coupling_table.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace couplet {

RoundTrip::RoundTrip(TarFlow teacher, c10::Device device, std::int64_t rows, double share, std::int64_t batch)
    : teacher_(std::move(teacher)),
      device_(device),
      stride_(share > 0 ? std::max<std::int64_t>(1, std::llround(1 / share)) : 0),
      batch_(batch),
      column_(at::full({rows}, not_measured, at::kFloat)) {}

void RoundTrip::add(std::int64_t first, std::int64_t count, const at::Tensor& stored, const at::Tensor& x,
                    const at::Tensor& label) {
  if (stride_ == 0) return;
  for (std::int64_t row = (first + stride_ - 1) / stride_ * stride_; row < first + count; row += stride_) {
    rows_.push_back(row);
    stored_.push_back(stored[row - first].clone());
    x_.push_back(x[row - first].clone());
    label_.push_back(label[row - first].clone());
    if (static_cast<std::int64_t>(rows_.size()) == batch_) measure();
  }
}

void RoundTrip::measure() {
  const at::Tensor z = at::stack(stored_).to(device_, at::kFloat);
  const at::Tensor label = at::stack(label_).to(device_, at::kLong);
  const at::Tensor back = teacher_->reverse(patchify(z, teacher_->options().patch), label).to(at::kFloat).cpu();
  constexpr double largest = std::numeric_limits<float>::max();
  const at::Tensor norms = (back - at::stack(x_)).flatten(1).norm(2, 1).nan_to_num(largest, largest);
  column_.index_copy_(0, at::tensor(rows_, at::kLong), norms);
  for (auto* waiting : {&stored_, &x_, &label_}) waiting->clear();
  rows_.clear();
}

at::Tensor RoundTrip::finish() {
  if (!rows_.empty()) measure();
  return column_;
}

nlohmann::json RoundTrip::summary() const {
  const at::Tensor measured = column_.masked_select(column_ >= 0).to(at::kDouble);
  return {{"round_trip_rows", measured.numel()},
          {"round_trip_sum", measured.sum().item<double>()},
          {"round_trip_max", measured.numel() > 0 ? measured.max().item<double>() : 0.0}};
}

}  // namespace couplet
