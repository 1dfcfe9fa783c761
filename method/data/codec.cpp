#include "method/data/codec.h"

namespace couplet {

std::shared_ptr<const Codec> codec_of(const nlohmann::json& provenance, const std::filesystem::path& table) {
  return find_codec(provenance.value("codec", "uint8")).make(provenance, table);
}

std::shared_ptr<const Codec> codec_of(const RowTable& table) {
  return codec_of(table.provenance(), table.path());
}

std::shared_ptr<const Codec> pixel_codec() {
  static const std::shared_ptr<const Codec> codec = codec_of(nlohmann::json::object(), {});
  return codec;
}

}  // namespace couplet
