#!/usr/bin/env python3
"""The other side of prepare_pillow: ADM's crop (guided-diffusion's center_crop_arr) of files by Pillow. prepare_pillow_peer.py TOOLS FOLDER IMAGES SIZE; TOOLS
holds Pillow. Answers `files` when it has made FOLDER/N.jpg and FOLDER/N.png, and `jpg` or `png` with the seconds of one pass over them, whose rows are then in
FOLDER/rows.FORMAT."""

import sys
import time
from pathlib import Path

tools, folder, images, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
sys.path.insert(0, tools)

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402


def make_files():
    """Photographs, roughly: smooth shapes with some noise."""
    generator = np.random.default_rng(21)
    for i in range(images):
        height, width = (375, 500) if i % 4 else (500, 375)
        y, x = (grid[..., None] for grid in np.mgrid[:height, :width].astype(np.float32))
        waves = sum(60 / (k + 1) * np.sin((k + 1) / 25 * (generator.normal() * x + generator.normal() * y) + generator.uniform(0, 6, 3)) for k in range(6))
        image = Image.fromarray(np.clip(128 + waves + generator.normal(0, 4, waves.shape), 0, 255).astype(np.uint8))
        image.save(folder / f"{i}.jpg", quality=90)
        image.save(folder / f"{i}.png")


def crop(image):
    while min(image.size) >= 2 * size:
        image = image.resize(tuple(side // 2 for side in image.size), resample=Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), resample=Image.Resampling.BICUBIC)
    array = np.asarray(image)
    top, left = (array.shape[0] - size) // 2, (array.shape[1] - size) // 2
    return array[top : top + size, left : left + size]


def main():
    for line in sys.stdin:
        format = line.strip()
        if format == "files":
            make_files()
            print(0, flush=True)
            continue
        rows = np.empty((images, size, size, 3), np.uint8)
        start = time.perf_counter()
        for i in range(images):
            with open(folder / f"{i}.{format}", "rb") as file:
                image = Image.open(file)
                image.load()
            rows[i] = crop(image.convert("RGB"))
        seconds = time.perf_counter() - start
        rows.tofile(folder / f"rows.{format}")
        print(seconds, flush=True)


if __name__ == "__main__":
    main()
