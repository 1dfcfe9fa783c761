// Numbers that are no pixels, such as points or latents: models see them as they are.
#include "method/data/codec.h"
#include "method/data/images.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>

namespace couplet {
namespace {

class FloatCodec : public Codec {
public:
  FloatCodec() : Codec("float", ElementType::float32) {}
  at::Tensor encode(const at::Tensor& stored) const override { return stored.to(at::kFloat, false, true); }
  /// Grey or coloured where there are as many channels; else the channels stand side by side.
  at::Tensor decode(const at::Tensor& seen) const override {
    const at::Tensor pixels = to_uint8(seen);
    if (is_picture(seen.size(1))) return pixels;
    return pixels.permute({0, 2, 1, 3}).flatten(2).unsqueeze(1).contiguous();
  }
  std::vector<std::int64_t> pixel_shape(std::vector<std::int64_t> row) const override {
    if (is_picture(row[0])) return row;
    return {1, row[1], row[0] * row[2]};
  }
  double levels() const override { return 0; }

private:
  static bool is_picture(std::int64_t channels) { return channels == 1 || channels == 3; }
};

}  // namespace

CodecKind float_codec() {
  return {.name = "float",
          .help = "numbers in single precision, which models see as they are",
          .make = [](const nlohmann::json&, const std::filesystem::path&) -> std::shared_ptr<const Codec> {
            return std::make_shared<FloatCodec>();
          }};
}

}  // namespace couplet
