#include "method/tables/coupling_table.h"

#include <ATen/ATen.h>

namespace couplet {
namespace {

bool are_seen(const at::Tensor& stored, const Codec& codec) {
  if (codec.tables_hold_seen()) return true;
  const bool stores_floats = codec.stored_type() != ElementType::uint8 && codec.stored_type() != ElementType::int32 &&
                             codec.stored_type() != ElementType::int64;
  return stored.is_floating_point() && !stores_floats;
}

}  // namespace

at::Tensor table_images(const at::Tensor& stored, const Codec& codec) {
  return codec.tables_hold_seen() ? codec.encode(stored).to(stored.scalar_type()) : stored;
}

at::Tensor seen_images(const at::Tensor& stored, const Codec& codec) {
  return are_seen(stored, codec) ? stored.to(at::kFloat, false, true) : codec.encode(stored);
}

at::Tensor image_pixels(const at::Tensor& stored, const Codec& codec) {
  return are_seen(stored, codec) ? codec.decode(stored.to(at::kFloat)) : codec.pixels(stored);
}

std::vector<Column> coupling_columns(const DatasetShape& shape, ElementType noise_type) {
  const std::vector<std::int64_t> image = {shape.channels, shape.size, shape.size};
  return {{"noise", noise_type, image,
           "f(x + noise, label) as the teacher gives it; divide by the manifest's sigma_f for unit variance"},
          {"image", shape.codec->stored_type(), image,
           shape.codec->tables_hold_seen() ? "what the teacher saw, before noise"
                                           : "the image before noise, mirrored where flip is 1, grey values 0-255"},
          {"label", ElementType::int32, {}, "class, from 0"},
          {"sample", ElementType::int64, {}, "row of the data set"},
          {"flip", ElementType::uint8, {}, "1: mirrored left to right"},
          {"replicate", ElementType::int32, {}, "which draw of the teacher's noise, from 0"},
          {"nll", ElementType::float32, {}, "negative log-likelihood of the noised image, nats a value"},
          {"round_trip",
           ElementType::float32,
           {},
           "norm of (image from the stored noise - noised image); -1: not measured"}};
}

}  // namespace couplet
