"""Reports in a real browser: Chromium shows them without an error, on a phone and on a desktop, light, dark and in print."""

import argparse
import subprocess
import sys
from pathlib import Path

from browser import Browser, find_chromium

PHONE, DESKTOP = (390, 844), (1440, 900)

# Contrast of every text with what is behind it, as WCAG 2 counts it; the lowest ones first.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const channels = (text) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => { for (let at = element; at; at = at.parentElement) { const c = channels(getComputedStyle(at).backgroundColor);
    if (c[3] === 255) return c; } return [255, 255, 255]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || ['title', 'desc'].includes(element.tagName)) continue;
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    const a = luminance(channels(svg ? style.fill : style.color)), b = luminance(behind(element));
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), walker.currentNode.textContent.trim().slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]).slice(0, 3);
})()"""

# Contrast of the plots' lines with the page.
LINES = CONTRAST.split("const found")[0] + """
  const page = luminance(behind(document.body));
  return [...document.querySelectorAll('.plot .line')].map((line) => luminance(channels(getComputedStyle(line).stroke)))
    .map((l) => (Math.max(l, page) + 0.05) / (Math.min(l, page) + 0.05)).sort((a, b) => a - b)[0];
})()"""


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_shown(browser, what, charts):
    """Nothing red, nothing fetched, nothing wider than the screen; charts and pictures have a size."""
    check(not browser.errors(), f"{what}: the console says {browser.errors()}")
    fetched = [url for url in browser.requests() if not url.startswith(("file:", "data:"))]
    check(not fetched, f"{what}: fetched {fetched}")
    wide, screen = browser.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    check(wide <= screen, f"{what}: the page is {wide} px wide on a screen of {screen} px")
    plots = browser.evaluate("""[...document.querySelectorAll('svg.plot')].map((plot) => [plot.getBoundingClientRect().width,
      plot.getBoundingClientRect().height, plot.querySelectorAll('.line').length, plot.querySelector('title').textContent,
      parseFloat(getComputedStyle(plot).fontSize) * plot.getBoundingClientRect().width / plot.viewBox.baseVal.width])""")
    check(len(plots) >= charts, f"{what}: {len(plots)} charts, expected at least {charts}: {[plot[3] for plot in plots]}")
    for width, height, lines, title, text in plots:
        check(width >= 280 and height >= 200 and lines > 0, f"{what}: chart '{title}' is {width} x {height} with {lines} lines")
        check(text >= 9, f"{what}: chart '{title}' has text of {text:.1f} px")
    broken = browser.evaluate("[...document.images].filter((image) => !image.complete || image.naturalWidth < 2).map((image) => image.alt)")
    check(not broken, f"{what}: pictures that are not shown: {broken}")


def check_first_screen(browser, what, words):
    """The finding, how sure, and how to run it again: to be seen without scrolling."""
    seen = browser.evaluate("""[...document.querySelectorAll('.tile')].filter((tile) => tile.getBoundingClientRect().bottom <= innerHeight)
      .map((tile) => tile.innerText).join('\\n')""")
    missing = [word for word in words if word not in seen]
    check(not missing, f"{what}: not on the first screen: {missing}; there is:\n{seen}")


def check_sheets(browser, what, width, row):
    """Sheets are of the width of ten images, and of whole rows of images with 2 pixels between them."""
    sizes = browser.evaluate("[...document.querySelectorAll('.strips img, .samples img')].map((image) => [image.naturalWidth, image.naturalHeight])")
    check(sizes, f"{what}: there are no sheets")
    for size in sizes:
        check(size[0] == width and (size[1] + 2) % row == 0, f"{what}: a sheet of {size[0]} x {size[1]} pixels")
    cut = browser.evaluate("[...document.querySelectorAll('.strips img')].map((image) => image.naturalHeight)")
    check(cut == [3 * row - 2] * 2, f"{what}: the finding's pictures are {cut} pixels high")


def check_contrast(browser, what):
    lowest = browser.evaluate(CONTRAST)
    check(lowest and lowest[0][0] >= 4.5, f"{what}: text of too little contrast: {lowest}")
    check(browser.evaluate(LINES) >= 3, f"{what}: a line of too little contrast")


def check_dark(browser, what, dark):
    red, green, blue = browser.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    check((red + green + blue < 150) == dark, f"{what}: background {red} {green} {blue}")


def check_keyboard(browser, what):
    """Tab reaches links, what scrolls and what opens, each with a visible outline; Enter opens."""
    reached, outlines = set(), set()
    for _ in range(60):
        browser.press("Tab")
        tag, outline = browser.evaluate("""[document.activeElement.tagName + (document.activeElement.className ? '.' + document.activeElement.className : ''),
          getComputedStyle(document.activeElement).outlineStyle]""")
        reached.add(tag)
        outlines.add(outline if tag != "BODY" else "solid")
        if tag == "SUMMARY":
            browser.press("Enter")
            check(browser.evaluate("document.activeElement.parentElement.open"), f"{what}: Enter does not open the details")
            break
    check({"A", "DIV.scroll", "SUMMARY"} <= reached, f"{what}: Tab reaches {reached} only")
    check("none" not in outlines, f"{what}: something that has the focus does not show it")


def check_print(browser, what, path):
    browser.emulate("print", dark=True)
    check_dark(browser, what + ", printed from dark mode", False)
    check(browser.evaluate("[...document.querySelectorAll('nav')].every((nav) => getComputedStyle(nav).display === 'none')"),
          f"{what}: navigation is printed")
    pdf = browser.print_pdf()
    check(pdf.startswith(b"%PDF") and pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 2, f"{what}: no PDF of several pages")
    path.write_bytes(pdf)


def check_report(browser, page, charts, words, shots):
    check(page.stat().st_size < 5e6, f"{page.name} has {page.stat().st_size} bytes")
    for name, (width, height) in (("phone", PHONE), ("desktop", DESKTOP)):
        for dark in (False, True):
            what = f"{page.name}, {name}, {'dark' if dark else 'light'}"
            browser.open(page, width, height, dark, mobile=name == "phone")
            check_shown(browser, what, charts)
            check_first_screen(browser, what, words)
            check_contrast(browser, what)
            check_dark(browser, what, dark)
            browser.screenshot(shots / f"{page.stem}-{name}-{'dark' if dark else 'light'}.png")
    check_keyboard(browser, page.name)
    check_print(browser, page.name, shots / f"{page.stem}.pdf")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--writer", required=True, help="write_reports")
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    chromium = find_chromium()
    if not chromium:
        print("no Chromium (scripts/setup browser installs it)")
        sys.exit(77)
    arguments.work.mkdir(parents=True, exist_ok=True)
    subprocess.run([arguments.writer, arguments.work], check=True, timeout=300)
    again = "couplet run --config fashion.ini --run-dir runs/fashion-again --ranks 2"
    with Browser(chromium) as browser:
        check_report(browser, arguments.work / "finished.html", 5,
                     ["Which coupling won?", "nf", "NFE 1, 2 and 4", "2.29×", "8.74", "How sure?", "3 training seeds", again], arguments.work)
        check_report(browser, arguments.work / "several.html", 5, ["Which coupling won?", "better: nf", "How sure?", again.replace("fashion", "better")], arguments.work)
        # Of 1000 classes: pictures as wide as they are to be seen, and none cut through an image.
        check_report(browser, arguments.work / "classes.html", 4, ["Which coupling won?", "nf"], arguments.work)
        check_sheets(browser, "classes.html", 10 * 66 - 2, 66)
        check_report(browser, arguments.work / "unfinished.html", 1, ["not known yet", again], arguments.work)
    print(f"reports shown by {chromium}; screenshots in {arguments.work}")


if __name__ == "__main__":
    main()
