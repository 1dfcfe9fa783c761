#include "stages/report/html/markup.h"
#include "stages/report/sections/sections.h"
#include "storage/files/atomic_file.h"
#include "storage/formats/picture.h"

#include <fmt/format.h>

namespace couplet {

namespace {

constexpr std::int64_t strip_rows = 3;

std::string tile(const std::string& name, const std::string& big, const std::string& text) {
  return "<div class=\"tile\"><dt>" + escaped(name) + "</dt><dd><strong>" + big + "</strong>" + escaped(text) +
         "</dd></div>\n";
}

std::string tiles(const Page& page) {
  const Verdict& verdict = page.verdict;
  if (!verdict.winner) {
    return tile("Which coupling won?", "not known yet", "No two couplings have been scored at the same NFE yet.");
  }
  const int colour = page.colour(verdict.winner->run, verdict.winner->coupling);
  std::string where = verdict.where;
  if (!verdict.others.empty()) where += "; " + verdict.others;
  std::string html = tile(
      "Which coupling won?",
      fmt::format("<span class=\"dot c{}\" aria-hidden=\"true\"></span>{}", colour, escaped(verdict.winner->model())),
      where + ".");
  if (!verdict.margin.empty()) html += tile("By how much?", escaped(verdict.margin), verdict.margin_text + ".");
  const ScoreSummary& score = verdict.winner->scores.begin()->second;
  html += tile("How sure?", fmt::format("{} training seed{}", score.seeds, score.seeds == 1 ? "" : "s"),
               fmt::format("{} {} samples a score, {}.", verdict.confidence, score.samples,
                           page.scores.networks.empty() ? "network not named" : page.scores.networks.front()));
  return html;
}

/// How to get the same again: of several runs the winner's, the others stand below.
std::string again(const Page& page) {
  const RunReport* chosen = nullptr;
  for (const RunReport& run : page.data.runs)
    if (!chosen || (page.verdict.winner && run.name == page.verdict.winner->run)) chosen = &run;
  if (!chosen || chosen->command.empty()) return "";
  return "<div class=\"tile wide\"><dt>How to run it again?</dt><dd><pre class=\"wrap\"><code>" +
         escaped(chosen->command) +
         "</code></pre><a href=\"#again\">With its configuration, versions and hashes</a></dd></div>\n";
}

/// The upper rows of a grid of square images, `across` of them a row with a gap of two pixels; the whole picture where
/// that is not its form.
std::string upper_rows(const std::filesystem::path& path, std::int64_t across) {
  Picture picture = read_png(path);
  const std::int64_t cell = across > 0 ? (picture.width + 2) / across : 0, height = strip_rows * cell - 2;
  if (cell > 0 && height < picture.height) {
    picture.height = height;
    picture.pixels.resize(static_cast<std::size_t>(picture.height * picture.width * picture.channels));
  }
  return encode_png(picture);
}

/// Samples of one coupling at one NFE, the first rows.
std::string strip(const Page& page, const ScoreCurve& curve, std::int64_t nfe) {
  for (const RunReport& run : page.data.runs) {
    if (page.several() && run.name != curve.run) continue;
    for (const SamplePicture& picture : run.pictures) {
      if (picture.coupling != curve.coupling || picture.nfe != nfe || !std::filesystem::exists(picture.path)) continue;
      const std::string text =
          fmt::format("{}, {} evaluation{} of the network", curve.model(), nfe, nfe == 1 ? "" : "s");
      return png_figure(upper_rows(picture.path, run.images_across), "Samples: " + text, text);
    }
  }
  return "";
}

/// Samples of both sides, at the NFE where the winner is the furthest ahead of those with pictures.
std::string strips(const Page& page) {
  const Verdict& verdict = page.verdict;
  if (!verdict.winner || !verdict.other) return "";
  double most = 0;
  std::string html;
  for (const auto& [nfe, ratio] : compare(*verdict.winner, *verdict.other).ratio) {
    if (ratio <= most) continue;
    const std::string other = strip(page, *verdict.other, nfe), winner = strip(page, *verdict.winner, nfe);
    if (other.empty() || winner.empty()) continue;
    most = ratio;
    html = "<div class=\"strips\">\n" + other + "\n" + winner + "\n</div>\n";
  }
  return html;
}

}  // namespace

std::string verdict_section(const Page& page) {
  std::string html = "<section class=\"verdict\" aria-label=\"Finding\">\n<dl class=\"tiles\">\n" + tiles(page) +
                     again(page) + "</dl>\n" + strips(page);
  for (const Comparison& comparison : page.comparisons) html += paragraph(comparison.sentence());
  return html + "</section>\n";
}

}  // namespace couplet
