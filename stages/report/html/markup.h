// Text as HTML and SVG take it.
#pragma once

#include <string>

namespace couplet {

/// Text with & < > " ' escaped for HTML and XML; control characters that XML forbids become U+FFFD.
std::string escaped(const std::string& text);
/// Base64 (RFC 4648).
std::string base64(const std::string& bytes);

}  // namespace couplet
