"""Checks a report page: tags balanced, headings in order, images described, ids unique, links inside, each <svg> XML."""
import re
import sys
import xml.etree.ElementTree
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.problems, self.ids, self.links, self.level = [], [], [], [], 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img" and not attributes.get("alt"):
            self.problems.append("an image without alt text")
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes.get("href", ""))
        if re.fullmatch("h[1-6]", tag):
            if int(tag[1]) > self.level + 1:
                self.problems.append(f"{tag} after h{self.level}")
            self.level = int(tag[1])

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes nothing")


text = open(sys.argv[1], encoding="utf-8").read()
page = Page()
page.feed(text)
page.close()
problems = page.problems + [f"<{tag}> is not closed" for tag in page.open]
if len(page.ids) != len(set(page.ids)):
    problems.append(f"ids are not unique: {page.ids}")
problems += [f"a link leads nowhere: {link[:80]}" for link in page.links
             if not link.startswith("data:text/plain;") and (link[1:] not in page.ids or not link.startswith("#"))]
for svg in re.findall(r"<svg.*?</svg>", text, re.S):
    root = xml.etree.ElementTree.fromstring(svg)
    if root.find("title") is None or root.get("role") != "img":
        problems.append("a plot without a name")
print("\n".join(problems), end="\n" if problems else "")
sys.exit(1 if problems else 0)
