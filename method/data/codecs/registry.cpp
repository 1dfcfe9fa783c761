// The kinds of codecs there are.
#include "method/registry.h"
#include "method/data/codec.h"

namespace couplet {

#define MEMBER(name) CodecKind name##_codec();
#include "method/data/codecs/members.list"
#undef MEMBER

const std::vector<CodecKind>& codec_kinds() {
  static const std::vector<CodecKind> kinds{
#define MEMBER(name) name##_codec(),
#include "method/data/codecs/members.list"
#undef MEMBER
  };
  return kinds;
}

const CodecKind& find_codec(const std::string& name) {
  return find_kind(codec_kinds(), name, "codec");
}

}  // namespace couplet
