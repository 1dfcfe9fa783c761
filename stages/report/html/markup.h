// Pieces of HTML that all sections of the report are made of.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace couplet {

/// Text with & < > " ' escaped for HTML and XML; control characters that XML forbids become U+FFFD.
std::string escaped(const std::string& text);
/// Base64 (RFC 4648).
std::string base64(const std::string& bytes);
/// <p> of a text; nothing of an empty one.
std::string paragraph(const std::string& text, const std::string& css_class = "");
/// <figure> of PNG bytes inside the page, described by `alternative`, over a caption (left out if empty).
std::string png_figure(const std::string& png, const std::string& alternative, const std::string& caption);
/// The same of a file; one that is not there leaves a note in its place.
std::string picture_figure(const std::filesystem::path& png, const std::string& alternative,
                           const std::string& caption);
/// What opens at a click.
std::string details(const std::string& summary, const std::string& html);

/// A cell of a table: HTML, and classes of the style sheet ("best", "text").
struct Cell {
  std::string html;
  std::string css_class = {};
};

/// A table that scrolls by itself where it is wider than the page, with the keyboard too.
class Table {
public:
  /// `caption` is a text, and the name of the region that scrolls.
  Table(const std::string& css_class, const std::string& caption);
  /// Names of the columns, texts; the first column's stands over the rows' names.
  void header(const std::vector<std::string>& columns, const std::string& css_class = "");
  /// A row between others that names a group of them, over `columns` columns.
  void group(const std::string& html, std::size_t columns);
  void row(const std::string& name, const std::vector<Cell>& cells);
  bool empty() const { return body_.empty(); }
  std::string html() const;

private:
  std::string css_class_, caption_, head_, body_;
};

}  // namespace couplet
