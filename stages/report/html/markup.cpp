#include "stages/report/html/markup.h"

#include "storage/files/atomic_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace couplet {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? "\xEF\xBF\xBD" : std::string(1, c);
    }
  }
  return out;
}

std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k)
      group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k) text += k <= count ? digits[group >> (18U - 6U * k) & 63U] : '=';
  }
  return text;
}

std::string paragraph(const std::string& text, const std::string& css_class) {
  if (text.empty()) return "";
  return (css_class.empty() ? "<p>" : "<p class=\"" + css_class + "\">") + escaped(text) + "</p>\n";
}

std::string png_figure(const std::string& png, const std::string& alternative, const std::string& caption) {
  return "<figure><img alt=\"" + escaped(alternative) + "\" src=\"data:image/png;base64," + base64(png) + "\">" +
         (caption.empty() ? "" : "<figcaption>" + escaped(caption) + "</figcaption>") + "</figure>";
}

std::string picture_figure(const std::filesystem::path& png, const std::string& alternative,
                           const std::string& caption) {
  if (!std::filesystem::exists(png))
    return "<p class=\"soft\">no picture: " + escaped(png.filename().string()) + " is not there</p>";
  return png_figure(read_file(png), alternative, caption);
}

std::string details(const std::string& summary, const std::string& html) {
  return "<details><summary>" + escaped(summary) + "</summary>\n" + html + "</details>\n";
}

Table::Table(const std::string& css_class, const std::string& caption) : css_class_(css_class), caption_(caption) {}

void Table::header(const std::vector<std::string>& columns, const std::string& css_class) {
  head_ = "<thead><tr>";
  for (std::size_t i = 0; i < columns.size(); ++i)
    head_ += fmt::format("<th scope=\"col\"{}>{}</th>",
                         i == 0 || css_class.empty() ? "" : " class=\"" + css_class + "\"", escaped(columns[i]));
  head_ += "</tr></thead>\n";
}

void Table::group(const std::string& html, std::size_t columns) {
  if (!body_.empty()) body_ += "</tbody>\n<tbody>\n";
  body_ += fmt::format("<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>\n", columns, html);
}

void Table::row(const std::string& name, const std::vector<Cell>& cells) {
  body_ += "<tr><th scope=\"row\">" + escaped(name) + "</th>";
  for (const Cell& cell : cells)
    body_ += (cell.css_class.empty() ? "<td>" : "<td class=\"" + cell.css_class + "\">") + cell.html + "</td>";
  body_ += "</tr>\n";
}

std::string Table::html() const {
  return "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + escaped(caption_) +
         "\"><table class=\"" + css_class_ + "\"><caption><span>" + escaped(caption_) + "</span></caption>\n" + head_ +
         "<tbody>\n" + body_ + "</tbody></table></div>\n";
}

}  // namespace couplet
