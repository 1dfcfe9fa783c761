// Tensors as arrays of .npz files.
#pragma once

#include "pipeline/tensor/weights.h"
#include "storage/formats/npz.h"

#include <ATen/ATen.h>

#include <cstring>
#include <span>
#include <string>

namespace couplet {

inline NpzArray array_of(const std::string& name, const at::Tensor& values) {
  const at::Tensor rows = values.contiguous();
  return {.name = name,
          .type = element_type(rows.scalar_type()),
          .rows = rows.size(0),
          .row_shape = rows.sizes().slice(1).vec(),
          .rows_at_once = rows.size(0),
          .read = [=](std::int64_t, std::int64_t, std::span<std::byte> out) {
            std::memcpy(out.data(), rows.const_data_ptr(), out.size());
          }};
}

}  // namespace couplet
