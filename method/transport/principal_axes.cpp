#include "method/transport/principal_axes.h"

#include "pipeline/tensor/row_chunks.h"
#include "storage/error.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace couplet {
namespace {

constexpr std::int64_t moments_a_thread = 64;  // rows of the matrix

}  // namespace

PrincipalAxes::PrincipalAxes(std::int64_t values) {
  if (values > most_axes_values)
    refuse("couple.sd-dims: principal axes of images of {} values; at most {} are possible. Take 0, all values", values,
           most_axes_values);
  moments_ = at::zeros({values, values}, at::kDouble);
}

void PrincipalAxes::add(const at::Tensor& points) {
  const at::Tensor rows = points.to(at::kDouble), columns = rows.t().contiguous();
  const std::int64_t values = moments_.size(0);
  each_on_one_thread((values + moments_a_thread - 1) / moments_a_thread, at::kCPU, [&](std::int64_t i) {
    const std::int64_t first = i * moments_a_thread, count = std::min(moments_a_thread, values - first);
    moments_.narrow(0, first, count).addmm_(columns.narrow(0, first, count), rows);
  });
}

at::Tensor PrincipalAxes::leading(std::int64_t count) const {
  const std::int64_t values = moments_.size(0);
  if (count < 1 || count > values) refuse("couple.sd-dims = {}: images have {} values", count, values);
  const OneThread one_thread;
  const at::Tensor vectors = std::get<1>(at::linalg_eigh(moments_, "L"));  // by rising eigenvalue
  const at::Tensor axes = vectors.narrow(1, values - count, count).flip(1);
  const at::Tensor largest = axes.gather(0, axes.abs().argmax(0, true));
  return (axes * largest.sign()).to(at::kFloat).contiguous();
}

double PrincipalAxes::share(const at::Tensor& axes) const {
  const OneThread one_thread;
  const at::Tensor wide = axes.to(at::kDouble);
  return ((moments_.mm(wide) * wide).sum() / moments_.trace()).item<double>();
}

}  // namespace couplet
