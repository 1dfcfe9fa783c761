#!/usr/bin/env python3
"""scripts/emoji: counts, names, bytes and pictures of the folders it makes, and what it refuses. Needs numpy, and Debian's fonts-noto-color-emoji and
unicode-data."""

import argparse
import os
import random
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
LIST = Path("/usr/share/unicode/emoji/emoji-test.txt")


def read_png(path):
    """Pixels of an 8-bit RGB or RGBA PNG file whose lines are not filtered; checksums are compared."""
    content, at, packed = path.read_bytes(), 8, b""
    check(content[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG file")
    while at < len(content):
        size, kind = struct.unpack(">I4s", content[at:at + 8])
        data, checksum = content[at + 8:at + 8 + size], content[at + 8 + size:at + 12 + size]
        check(struct.pack(">I", zlib.crc32(kind + data)) == checksum, f"{path}: checksum of {kind}")
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data)
            check(depth == 8 and colour in (2, 6) and not interlaced, f"{path}: depth {depth}, colour type {colour}")
        packed += data if kind == b"IDAT" else b""
        at += size + 12
    check(kind == b"IEND", f"{path} ends with {kind}")
    channels = 3 if colour == 2 else 4
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    check(not lines[:, 0].any(), f"{path}: filtered lines")
    return lines[:, 1:].reshape(height, width, channels).astype(np.int64)


def listed():
    """How many emoji each group of Unicode's list recommends."""
    counts, group = {}, None
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line[9:].lower().replace(" & ", "-")
        elif "; fully-qualified " in line:
            counts[group] = counts.get(group, 0) + 1
    return counts


def files(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def printed(text):
    """Images by class, and what was left out by reason, of the program's output."""
    counts, left_out = {}, {}
    for line in text.splitlines():
        if line.startswith("left out: "):
            number, reason = line[10:].split(" ", 1)
            left_out[reason] = int(number)
        else:
            name, number = line.rsplit(None, 1)
            counts[name] = int(number)
    return counts, left_out


def check_pictures(pictures):
    def mean(name, across=slice(None), down=slice(None)):
        return read_png(pictures[name])[down, across].mean((0, 1))

    red, blue = mean("symbols/1f534.png"), mean("symbols/1f535.png")
    check(red[0] > red[2] + 50 and blue[2] > blue[0] + 50, f"red and blue circle: {red}, {blue}")
    middle = slice(60, 68)
    italy = [mean("flags/1f1ee-1f1f9.png", slice(x, x + 10), middle) for x in (20, 63, 106)]
    check(italy[0].argmax() == 1 and italy[1].min() > 200 and italy[2].argmax() == 0, f"Italy: {italy}")
    england = mean("flags/1f3f4-e0067-e0062-e0065-e006e-e0067-e007f.png", slice(64, 72), middle)
    check(england[0] > 180 and england[1] < 80, f"the cross of England: {england}")
    tones = [mean(f"people-body/1f44b-1f3f{tone}.png").sum() for tone in "bcdef"]
    check(sorted(tones, reverse=True) == tones, f"skin tones, from light to dark: {tones}")
    rainbow = read_png(pictures["flags/1f3f3-200d-1f308.png"])[28:100, 68]
    check({0, 1, 2} == set(rainbow.argmax(1)), "the rainbow flag has few colours")
    check("symbols/23-20e3.png" in pictures, "there is no keycap #")


def font_file(**tables):
    """A TrueType font of these tables."""
    at, head, body = 12 + 16 * len(tables), b"", b""
    for tag, data in sorted(tables.items()):
        head += struct.pack(">4sIII", tag.encode(), 0, at + len(body), len(data))
        body += data
    return struct.pack(">IHHHH", 0x10000, len(tables), 0, 0, 0) + head + body


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emoji", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)

    def run(*words, **environment):
        return subprocess.run([sys.executable, arguments.emoji.resolve(), *words], capture_output=True, text=True, timeout=120, cwd=work,
                              env=os.environ | environment)

    def make(name, *words, **environment):
        done = run(name, *words, **environment)
        check(done.returncode == 0 and not done.stderr, f"{name}: status {done.returncode}: {done.stderr}")
        return files(work / name), *printed(done.stdout)

    pictures, counts, left_out = make("emoji")
    expected = listed()
    check(len(expected) == 9 and sorted(counts) == sorted([*expected, "in all"]), f"classes: {sorted(counts)}")
    for group, number in expected.items():
        found = sum(name.startswith(group + "/") for name in pictures)
        check(found == counts[group] and 0.97 * number < found <= number, f"{group}: {found} files, {counts[group]} printed, {number} emoji")
    check(counts["in all"] == len(pictures) > 3500, f"{counts['in all']} images, {len(pictures)} files")
    check(sum(expected.values()) - len(pictures) == sum(number for reason, number in left_out.items() if reason.startswith("emoji ")), f"{left_out}")
    check(all(struct.unpack(">II", path.read_bytes()[16:24]) == (136, 128) for path in pictures.values()), "sizes")
    check(len({path.read_bytes() for path in pictures.values()}) == len(pictures), "the same picture twice")
    check_pictures(pictures)

    # Another process, another folder, another order of its sets: the same bytes, of what has no skin tone.
    plain, counts, left_out = make("a folder/of naïve emoji", "--no-skin-tones", PYTHONHASHSEED="7")
    tones = tuple(f"1f3f{tone}" for tone in "bcdef")
    check(sorted(plain) == sorted(name for name in pictures if not any(tone in name for tone in tones)), "names without skin tones")
    check(all(path.read_bytes() == pictures[name].read_bytes() for name, path in plain.items()), "bytes without skin tones")
    check(left_out["emoji with a skin tone"] > 1500, f"{left_out}")

    # Backgrounds: composed from the files that keep their alpha.
    few = work / "few.txt"
    few.write_text("# group: Some & Few\n" + "".join(f"{points} ; fully-qualified # a comment; with one\n" for points in (
        "1F600", "1F44B 1F3FD", "263A FE0F", "1F468 200D 1F469 200D 1F467", "1F1EB 1F1F7", "1F1F2 1F1EB", "2601 FE0F", "1F9CA"))
        + "1F601 ; unqualified # not taken\n", encoding="utf-8")
    clear, counts, left_out = make("clear", "--emoji", few, "--background", "transparent")
    check(counts == {"some-few": 7, "in all": 7} and left_out["emoji that look as one before them, pixel by pixel"] == 1, f"{counts}, {left_out}")
    check(sorted(clear) == [f"some-few/{name}.png" for name in ("1f1eb-1f1f7", "1f44b-1f3fd", "1f468-200d-1f469-200d-1f467", "1f600", "1f9ca", "2601", "263a")],
          f"{sorted(clear)}")
    for colour, rgb in (("white", (255, 255, 255)), ("grey", (128, 128, 128)), ("0a80FF", (10, 128, 255))):
        composed, _, _ = make(colour, "--emoji", few, "--background", colour)
        partly = 0
        for name, path in clear.items():
            rgba = read_png(path)
            alpha = rgba[..., 3:]
            check(not (rgba[..., :3] * (alpha == 0)).any(), f"{name}: colours that are not seen")
            partly += ((alpha > 0) & (alpha < 255)).sum()
            exact = (rgba[..., :3] * alpha + np.array(rgb) * (255 - alpha)) / 255
            check((np.rint(exact) == read_png(composed[name])).all(), f"{name} on {colour}")
        check(partly > 100, f"{partly} pixels are seen through in part")

    # What is refused, in one line, with nothing left behind.
    there = sorted(work.iterdir())

    def refused(*parts, words, status=2):
        done = run(*words)
        check(done.returncode == status and (len(done.stderr.strip().splitlines()) == 1 or "usage:" in done.stderr), f"{words}: {done.returncode}: {done.stderr}")
        check(all(part in done.stderr for part in parts), f"{words}: {done.stderr}")
        check(not (work / "none").exists(), f"{words} made a folder")

    inputs = work / "inputs"
    inputs.mkdir()

    def written(name, content):
        (inputs / name).write_bytes(content)
        return inputs / name

    refused("/nowhere.ttf", "fonts-noto-color-emoji", words=("none", "--font", "/nowhere.ttf"))
    refused("/nowhere.txt", "unicode-data", words=("none", "--emoji", "/nowhere.txt"))
    refused("emoji is not empty", words=("emoji",))
    refused("few.txt is no folder", words=("few.txt",))
    refused("few.txt", "Not a directory", words=("few.txt/folder", "--emoji", few), status=1)
    refused("RRGGBB", "blue", words=("none", "--background", "blue"))
    colours = written("colr.ttf", font_file(COLR=b"", CPAL=b"", cmap=b"", GSUB=b""))
    refused("colr.ttf", "no table CBDT", "COLR, CPAL, GSUB, cmap", "fonts-noto-color-emoji", words=("none", "--font", colours))
    refused("text.ttf", "no TrueType font", words=("none", "--font", written("text.ttf", b"hello")))
    refused("none.txt", "lists no emoji", "unicode-data", words=("none", "--emoji", written("none.txt", b"# nothing\n")))
    refused("line 1", "of no group", words=("none", "--emoji", written("groupless.txt", b"1F600 ; fully-qualified # grin\n")))
    refused("words.txt", "cannot be read", words=("none", "--emoji", written("words.txt", b"# group: G\ngrin ; fully-qualified # grin\n")))
    refused("latin.txt", "cannot be read", words=("none", "--emoji", written("latin.txt", b"\xe4\n")))
    refused("shows none", words=("none", "--emoji", written("letters.txt", b"# group: G\n0041 ; fully-qualified # a letter\n")))

    font, draw = FONT.read_bytes(), random.Random(1)
    heads = [struct.unpack(">4sIII", font[12 + 16 * k:28 + 16 * k]) for k in range(struct.unpack(">H", font[4:6])[0])]
    place = {tag: (at, size) for tag, _, at, size in heads}
    for k, size in enumerate((11, 100, place[b"CBDT"][0] + 50, len(font) // 2)):
        refused("cannot be read", words=("none", "--emoji", few, "--font", written(f"short{k}.ttf", font[:size])))
    for tag in (b"cmap", b"GSUB", b"CBLC", b"CBDT") * 2:
        damaged = bytearray(font)
        at, size = place[tag]
        for _ in range(400):
            damaged[at + draw.randrange(min(size, 4000))] = draw.randrange(256)
        done = run("none", "--emoji", few, "--font", written("damaged.ttf", damaged))
        check(done.returncode in (0, 2) and "Traceback" not in done.stderr, f"damaged {tag}: {done.returncode}: {done.stderr}")
        shutil.rmtree(work / "none", ignore_errors=True)
    shutil.rmtree(inputs)
    check(sorted(work.iterdir()) == there, f"left behind: {set(work.iterdir()) - set(there)}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
