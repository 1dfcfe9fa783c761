// Images of 8 bits, which models see on [-1, 1].
#include "method/data/codec.h"
#include "method/data/images.h"

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

namespace couplet {
namespace {

class PixelCodec : public Codec {
public:
  PixelCodec() : Codec("uint8", ElementType::uint8) {}
  at::Tensor encode(const at::Tensor& stored) const override { return to_float(stored); }
  at::Tensor decode(const at::Tensor& seen) const override { return to_uint8(seen); }
  at::Tensor pixels(const at::Tensor& stored) const override { return stored; }
  double levels() const override { return levels_a_unit; }
};

}  // namespace

CodecKind uint8_codec() {
  return {.name = "uint8",
          .help = "pixels of 8 bits, which models see on [-1, 1]",
          .make = [](const nlohmann::json&, const std::filesystem::path&) -> std::shared_ptr<const Codec> {
            return std::make_shared<PixelCodec>();
          }};
}

}  // namespace couplet
