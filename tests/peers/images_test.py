#!/usr/bin/env python3
"""Pixels against Pillow 12: of encoded images of all kinds that it can make or read, of 300 random sizes by each filter, and of 200 crops of each kind. None may
differ. Pillow is among the tools of scripts/setup; skipped without."""

import argparse
import io
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

SKIPPED = 77  # what CTest takes as skipped
FILTERS = ("box", "bilinear", "bicubic", "lanczos")
COLOURS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG's colour types, and the samples of a pixel
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7: first x, first y, steps


class Couplet:
    """The program image_pixels."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line, data):
        """(pixels [H, W, C], what was decoded, conversions), or the reason of a refusal."""
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode().rstrip("\n").split("|")
        if answer[0] == "refused":
            return answer[1]
        shape = tuple(map(int, answer[0].split()))
        return np.frombuffer(self.process.stdout.read(math.prod(shape)), np.uint8).reshape(shape), answer[1], answer[2]

    def of_array(self, line, array):
        return self.ask(f"{line} {array.shape[0]} {array.shape[1]} {array.shape[2]}", array.tobytes())


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def picture(array):
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def array_of(image):
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def natural(generator, height, width, channels):
    """Smooth shapes with some noise: an image whose filters and codes are not all of one kind."""
    y, x = np.mgrid[:height, :width].astype(float)
    waves = sum(generator.normal() * np.sin(generator.normal() / 9 * x[..., None] + generator.normal() / 9 * y[..., None] + generator.uniform(0, 6, channels))
                for _ in range(6))
    return np.clip(128 + 40 * waves + generator.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)


# Encoded images ---------------------------------------------------------------------------------------------------------

def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def filtered(generator, samples, bits):
    """Rows of packed samples with a random filter each."""
    packed = samples.astype(">u2").view(np.uint8).reshape(len(samples), -1) if bits == 16 else samples.astype(np.uint8)
    if bits < 8:
        digits = ((packed[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(len(packed), -1)
        packed = np.packbits(digits, axis=1)
    return packed


def filter_rows(generator, rows, step):
    out, above = [], np.zeros(rows.shape[1], int)
    for row in rows.astype(int):
        left, corner = (np.concatenate([np.zeros(step, int), line])[:len(line)] for line in (row, above))
        guess = left + above - corner
        distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        nearest = np.choose(distances.argmin(0), [left, above, corner])
        kind = generator.integers(0, 5)
        prediction = (0 * row, left, above, (left + above) // 2, nearest)[kind]
        out.append(bytes([kind]) + ((row - prediction) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(out)


def png(generator, samples, bits, colour, interlaced=False, before=b"", parts=1):
    """A PNG file of samples [H, W, S]."""
    height, width = samples.shape[:2]
    step = max(COLOURS[colour] * bits // 8, 1)
    data = b""
    for x, y, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[y::down, x::across]
        if part.size:
            data += filter_rows(generator, filtered(generator, part.reshape(len(part), -1), bits), step)
    stream = zlib.compress(data, int(generator.integers(0, 10)))
    cuts = [len(stream) * i // parts for i in range(parts + 1)]
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)) + before
            + b"".join(chunk(b"IDAT", stream[a:b]) for a, b in zip(cuts, cuts[1:])) + chunk(b"IEND", b""))


def pngs(generator):
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for bits in depths:
            for interlaced in (False, True):
                for size in ((1, 1), (3, 2), (7, 13), (31, 40)):
                    samples = natural(generator, *size, COLOURS[colour]).astype(int)
                    samples = samples * 257 - generator.integers(0, 256, samples.shape) * (samples > 0) if bits == 16 else samples >> (8 - bits)
                    before = chunk(b"PLTE", generator.bytes(3 * 2**bits)) if colour == 3 else b""
                    yield f"PNG {colour} {bits} {interlaced} {size}", png(generator, samples, bits, colour, interlaced, before, int(generator.integers(1, 4)))
    indices = generator.integers(0, 200, (20, 30, 1))
    palette = chunk(b"PLTE", generator.bytes(600))
    yield "PNG palette tRNS", png(generator, indices, 8, 3, before=palette + chunk(b"tRNS", generator.bytes(100)))
    yield "PNG palette 4 tRNS", png(generator, indices % 16, 4, 3, before=chunk(b"PLTE", generator.bytes(48)) + chunk(b"tRNS", generator.bytes(10)))
    yield "PNG palette beyond", png(generator, indices, 8, 3, before=chunk(b"PLTE", generator.bytes(150)))
    yield "PNG grey tRNS", png(generator, indices, 8, 0, before=chunk(b"tRNS", b"\0\x50"))
    yield "PNG RGB tRNS", png(generator, np.repeat(indices, 3, 2), 8, 2, before=chunk(b"tRNS", b"\0\x50" * 3))
    yield "PNG gamma", png(generator, indices, 8, 0, before=chunk(b"gAMA", struct.pack(">I", 20000)))


def saved(array, format, mode=None, **options):
    out = io.BytesIO()
    image = picture(array) if array.shape[2] != 2 else Image.fromarray(array, "LA")
    (image.convert(mode) if mode else image).save(out, format, **options)
    return out.getvalue()


def jpegs(generator):
    for size in ((1, 1), (8, 8), (33, 47), (120, 91)):
        for quality in (30, 95):
            for progressive in (False, True):
                options = {"quality": quality, "progressive": progressive, "optimize": bool(generator.integers(2))}
                yield f"JPEG grey {size} {options}", saved(natural(generator, *size, 1), "JPEG", **options)
                for subsampling in (0, 1, 2):
                    yield f"JPEG RGB {size} {subsampling} {options}", saved(natural(generator, *size, 3), "JPEG", subsampling=subsampling, **options)
        yield f"JPEG stored as RGB {size}", saved(natural(generator, *size, 3), "JPEG", keep_rgb=True)
        inks = io.BytesIO()
        Image.fromarray(natural(generator, *size, 4), "CMYK").save(inks, "JPEG", quality=90)
        yield f"JPEG CMYK {size}", inks.getvalue()
        adobe = inks.getvalue().index(b"Adobe")
        yield f"JPEG YCCK {size}", inks.getvalue()[:adobe + 11] + b"\2" + inks.getvalue()[adobe + 12:]
        turned = Image.Exif()
        turned[0x0112] = 6
        yield f"JPEG turned {size}", saved(natural(generator, *size, 3), "JPEG", exif=turned)


def webps(generator):
    for size in ((1, 1), (16, 16), (33, 47), (120, 91)):
        for channels in (3, 4):
            for lossless in (False, True):
                yield f"WebP {size} {channels} {lossless}", saved(natural(generator, *size, channels), "WEBP", lossless=lossless, quality=70, exact=lossless)


def expected_pixels(data):
    image = Image.open(io.BytesIO(data))
    if image.mode == "I;16":
        return array_of((np.asarray(image).astype(int) >> 8).astype(np.uint8))
    pixels = array_of(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    grey_alpha = data[:4] == b"\x89PNG" and data[25] == 4  # opened as RGBA where it is of 16 bits
    return pixels[:, :, :1] if grey_alpha else pixels


def check_decoding(couplet, generator):
    count = 0
    for name, data in (*pngs(generator), *jpegs(generator), *webps(generator)):
        expected, found = expected_pixels(data), couplet.ask(f"decode {len(data)}", data)
        if isinstance(found, str):
            fail(f"{name}: {found}")
        if found[0].shape != expected.shape or (found[0] != expected).any():
            fail(f"{name}: {found[1]} of {found[0].shape}, Pillow's is of {expected.shape}; {(found[0] != expected).sum() if found[0].shape == expected.shape else 'other'} differ")
        if ("turned" in name) != ("orientation" in found[2]) or ("tRNS" in name or "WebP" in name and " 4 " in name) and "alpha" not in found[2]:
            fail(f"{name}: conversions: {found[2]}")
        count += 1
    print(f"{count} encoded images: no value differs")


# Sizes and crops ---------------------------------------------------------------------------------------------------------

def check_sizes(couplet, generator, sizes):
    values = 0
    for _ in range(sizes):
        height, width, new_height, new_width = (int(generator.integers(1, 260)) for _ in range(4))
        kind = generator.integers(0, 4)
        if kind == 0:
            new_height, new_width = max(height // 2, 1), max(width // 2, 1)
        if kind == 1:
            new_width = width
        array = generator.integers(0, 256, (height, width, int(generator.choice([1, 3])))).astype(np.uint8)
        for name in FILTERS:
            expected = array_of(picture(array).resize((new_width, new_height), getattr(Image.Resampling, name.upper())))
            found = couplet.of_array(f"resample {name} {new_height} {new_width}", array)[0]
            values += expected.size
            if found.shape != expected.shape or (found != expected).any():
                fail(f"{name} from {array.shape} to {expected.shape}: {(found != expected).sum()} values differ")
    print(f"{sizes} sizes by each of {len(FILTERS)} filters: none of {values} values differs")


def adm(image, size):
    while min(image.size) >= 2 * size:
        image = image.resize(tuple(side // 2 for side in image.size), Image.Resampling.BOX)
    scale = size / min(image.size)
    array = array_of(image.resize(tuple(round(side * scale) for side in image.size), Image.Resampling.BICUBIC))
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[top:top + size, left:left + size]


def edm(image, size):
    array, side = array_of(image), min(image.size)
    top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    return array_of(picture(array[top:top + side, left:left + side]).resize((size, size), Image.Resampling.LANCZOS))


def torchvision(image, size):
    short, long = sorted(image.size)
    sides = tuple(size if side == short else int(size * long / short) for side in image.size)
    array = array_of(image.resize(sides, Image.Resampling.BILINEAR))
    top, left = (int(round((length - size) / 2.0)) for length in array.shape[:2])
    return array[top:top + size, left:left + size]


def check_crops(couplet, generator, crops):
    for name, crop in (("adm", adm), ("edm", edm), ("torchvision", torchvision)):
        for _ in range(crops):
            size = int(generator.choice([8, 32, 64, 128, 37]))
            array = natural(generator, int(generator.integers(5, 400)), int(generator.integers(5, 400)), int(generator.choice([1, 3])))
            expected, found = crop(picture(array), size), couplet.of_array(f"crop {name} box {size}", array)[0]
            if found.shape != expected.shape or (found != expected).any():
                fail(f"{name} of {array.shape} to {size}: {(found != expected).sum()} values differ")
    for _ in range(crops):
        size, name = int(generator.choice([8, 32, 64])), str(generator.choice(FILTERS))
        array = natural(generator, int(generator.integers(5, 300)), int(generator.integers(5, 300)), 3)
        expected = array_of(picture(array).resize((size, size), getattr(Image.Resampling, name.upper())))
        found = couplet.of_array(f"crop squeeze {name} {size}", array)[0]
        if (found != expected).any():
            fail(f"squeeze by {name} of {array.shape} to {size}: {(found != expected).sum()} values differ")
        if (couplet.of_array(f"crop none box {size}", expected)[0] != expected).any():
            fail("none changes an image")
    print(f"{crops} crops of each kind: no value differs")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", required=True, help="the program image_pixels")
    parser.add_argument("--tools", required=True, type=Path, help="python-tools of scripts/setup")
    parser.add_argument("--sizes", type=int, default=300)
    parser.add_argument("--crops", type=int, default=200)
    parser.add_argument("--seed", type=int, default=21)
    arguments = parser.parse_args()
    global np, Image
    sys.path.insert(0, str(arguments.tools))
    try:
        import numpy as np
        import PIL
        from PIL import Image
    except ImportError as error:
        print(f"skipped: {error}; scripts/setup installs Pillow into {arguments.tools}")
        sys.exit(SKIPPED)
    if not PIL.__version__.startswith("12."):
        print(f"skipped: Pillow {PIL.__version__} is not 12")
        sys.exit(SKIPPED)
    couplet, generator = Couplet(arguments.pixels), np.random.default_rng(arguments.seed)
    check_decoding(couplet, generator)
    check_sizes(couplet, generator, arguments.sizes)
    check_crops(couplet, generator, arguments.crops)
    print("passed")


if __name__ == "__main__":
    main()
