#!/usr/bin/env python3
"""Rows made of image files against Pillow 12: 300 PNG, JPEG and WebP files of mixed sizes, modes and names, 30 of them broken in four ways, as a folder, a
tar and a zip archive. All broken ones are named; the three give the same rows; no value differs from Pillow's. Skipped without Pillow."""

import argparse
import io
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile

SKIPPED = 77  # what CTest takes as skipped
SIZE = 32
KINDS = {  # what Pillow writes: mode, format, options
    "grey": ("L", "PNG", {}), "rgb": ("RGB", "PNG", {}), "alpha": ("RGBA", "PNG", {}), "jpeg": ("RGB", "JPEG", {"quality": 80}),
    "grey-jpeg": ("L", "JPEG", {}), "progressive": ("RGB", "JPEG", {"progressive": True}), "inks": ("CMYK", "JPEG", {}),
    "webp": ("RGB", "WEBP", {"quality": 80}), "webp-alpha": ("RGBA", "WEBP", {"lossless": True})}


def encoded(kind, width, height):
    mode, form, options = KINDS[kind]
    bands = len(Image.new(mode, (1, 1)).getbands())
    image = Image.frombytes(mode, (8, 8), random.randbytes(64 * bands)).resize((width, height), Image.BICUBIC)
    if kind == "rgb" and width % 2:
        image = image.quantize(50)  # a palette
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def make_files():
    """(bytes by name, names of broken ones)"""
    files, broken = {"read me.md": b"about"}, []
    for i in range(300):
        data = encoded(random.choice(list(KINDS)), random.randint(20, 140), random.randint(20, 140))
        name = f"{['cat', 'dog é', 'z 文'][i % 3]}/{i:04d}.{random.choice(['png', 'JPEG', 'jpg', 'webp'])}"
        if i % 10 == 0:
            data = [data[:len(data) // 2], b"", random.randbytes(200), b"GIF89a" + random.randbytes(99)][i // 10 % 4]
            broken.append(name)
        files[name] = data
    return files, broken


def write_sources(folder, files):
    for name, data in files.items():
        path = folder / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with tarfile.open(folder / "tar", "w") as tar, zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in random.sample(sorted(files), len(files)):
            tar.add(folder / "set" / name, name)
            archive.write(folder / "set" / name, name)
    return [folder / "set", folder / "tar", folder / "zip"]


def adm_crop(image):
    """As guided-diffusion's center_crop_arr is described: halved by boxes, scaled by the short side, the middle."""
    while min(image.size) >= 2 * SIZE:
        image = image.resize(tuple(side // 2 for side in image.size), Image.BOX)
    scale = SIZE / min(image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), Image.BICUBIC)
    left, top = (image.size[0] - SIZE) // 2, (image.size[1] - SIZE) // 2
    return image.crop((left, top, left + SIZE, top + SIZE))


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def compare(program, folder):
    files, broken = make_files()
    sources = write_sources(folder, files)

    def rows_of(source, skip):
        done = subprocess.run([program, source, str(SIZE), skip, folder / "rows"], capture_output=True, text=True)
        return done.returncode, done.stdout

    for source in sources:
        status, said = rows_of(source, "refuse")
        missing = [name for name in broken if f"\n  {name}: " not in said]
        if status != 1 or "30 of 300 images are broken" not in said or missing:
            fail(f"{source}: status {status}, not named: {missing}\n{said}")
    results = []
    for source in sources:
        status, said = rows_of(source, "skip")
        if status != 0:
            fail(said)
        results.append(([line[1:].split("\t") for line in said.splitlines() if line.startswith(">")], (folder / "rows").read_bytes()))
    if not results[0] == results[1] == results[2]:
        fail("folder, tar and zip give other rows")
    lines, values = results[0]
    if sorted(line[0] for line in lines) != sorted(set(files) - set(broken) - {"read me.md"}):
        fail("the rows are not those of the sound files")
    for row, (name, width, height, *_, label) in enumerate(lines):
        image = Image.open(io.BytesIO(files[name]))
        if (int(width), int(height)) != image.size or "cdz"[int(label)] != name[0]:
            fail(f"{name}: {width} x {height}, class {label}")
        expected = b"".join(band.tobytes() for band in adm_crop(image.convert("RGB")).split())
        if values[row * len(expected):(row + 1) * len(expected)] != expected:
            fail(f"{name}: values differ")
    print(f"{len(lines)} rows of folder, tar and zip: 0 values differ from Pillow {PIL.__version__}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rows", required=True, help="the program file_rows")
parser.add_argument("--tools", required=True, help="a directory in which Pillow may lie")
arguments = parser.parse_args()
sys.path.insert(0, arguments.tools)
try:
    import PIL
    from PIL import Image
except ImportError:
    print("skipped: there is no Pillow")
    sys.exit(SKIPPED)
random.seed(21)
with tempfile.TemporaryDirectory() as scratch:
    compare(arguments.rows, pathlib.Path(scratch))
