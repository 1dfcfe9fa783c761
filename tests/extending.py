#!/usr/bin/env python3
"""The examples of docs/extending.md as sources: what a reader would type in.

extending.py DOCUMENT SOURCE OUT   writes every block of the document whose fence names a file to OUT: a .cpp as it is, a
                                   members.list behind the lines that SOURCE's has; prints the sources to compile, one a
                                   line: the examples, and those of SOURCE that make a registry from a members.list
"""

import pathlib
import re
import sys

FENCE = re.compile(r"^```\w+ (\S+/\S+)$")
REGISTRY = re.compile(r'^#include "(\S+/members\.list)"$', re.MULTILINE)


def blocks(text):
    """(file, its text) of each named block."""
    name, lines = None, []
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence:
            name, lines = fence[1], []
        elif name and line == "```":
            yield name, "".join(f"{row}\n" for row in lines)
            name = None
        elif name:
            lines.append(line)


def write(path, text):
    """Only where it changes, so that nothing is compiled again for nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def main():
    document, source, out = (pathlib.Path(word) for word in sys.argv[1:])
    found = list(blocks(document.read_text(encoding="utf-8")))
    lists = {}
    for name, text in found:
        if name.endswith("members.list"):
            old = lists.get(name, (source / name).read_text(encoding="utf-8"))
            lists[name] = old + text
        else:
            write(out / name, text)
            print(out / name)
    for name, text in lists.items():
        write(out / name, text)
    for path in sorted((source / "method").rglob("*.cpp")):
        if set(REGISTRY.findall(path.read_text(encoding="utf-8"))) & lists.keys():
            print(path)


if __name__ == "__main__":
    main()
