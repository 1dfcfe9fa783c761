"""A reader of PNG files that shares nothing with the program's."""

import struct
import zlib

import numpy as np

from program import check


def read_png(path):
    """An 8-bit grey PNG, not interlaced."""
    content, at, packed = path.read_bytes(), 8, b""
    while at < len(content):
        size, kind = struct.unpack(">I4s", content[at:at + 8])
        data = content[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[:10])
            check(depth == 8 and colour == 0, "8-bit grey")
        packed += data if kind == b"IDAT" else b""
        at += size + 12
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width + 1)
    pixels = np.zeros((height, width), np.int64)
    for y, line in enumerate(lines.astype(np.int64)):
        for x in range(width):
            left = pixels[y, x - 1] if x else 0
            up = pixels[y - 1, x] if y else 0
            corner = pixels[y - 1, x - 1] if x and y else 0
            guess = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
            pixels[y, x] = (line[x + 1] + (0, left, up, (left + up) // 2, guess)[line[0]]) % 256
    return pixels
