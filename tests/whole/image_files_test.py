#!/usr/bin/env python3
"""Image files of mixed kinds, some of them broken, become the same shards on 1, 2 and 3 ranks, after SIGKILL, and from a folder, a zip, a tar and an npz;
pixels are those of Pillow. Needs numpy, h5py, and Pillow from the test tools."""

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "launch"))
from program import Program, check  # noqa: E402

SIZE = 32
CLASSES = ("cats and dogs", "größe", "z")
BROKEN = ("truncated.png", "truncated.jpg", "truncated.webp", "empty.png", "page.jpg", "garbage.png", "checksum.png", "header.jpg", "gif.png", "riff.webp")


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures(np, Image, draw, count):
    """(name, bytes) of sound files: every mode and format in turn, of sizes from 33 x 40 to 150 x 120."""
    kinds = (("L", "PNG", "png"), ("RGB", "PNG", "png"), ("P", "PNG", "png"), ("RGBA", "PNG", "png"), ("1", "PNG", "png"), ("LA", "PNG", "png"),
             ("L", "JPEG", "jpg"), ("RGB", "JPEG", "JPEG"), ("CMYK", "JPEG", "jpg"), ("RGB", "WEBP", "webp"), ("RGBA", "WEBP", "webp"))
    for i in range(count):
        mode, kind, suffix = kinds[i % len(kinds)]
        width, height = draw.randrange(33, 150), draw.randrange(40, 120)
        small = np.frombuffer(draw.randbytes(6 * 5 * 3), np.uint8).reshape(6, 5, 3)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        options = {"quality": 90, "progressive": i % 2 == 0} if kind == "JPEG" else {"lossless": i % 2 == 0} if kind == "WEBP" else {}
        if mode == "RGBA":
            image.putalpha(Image.fromarray((small[..., 0] | 64)).resize((width, height)))
        elif mode == "LA":
            image = image.convert("L").convert("LA")
        else:
            image = image.convert(mode)
        # A wrong extension now and then: content decides.
        name = f"{CLASSES[i % len(CLASSES)]}/{draw.randrange(10):x}/{i:05d}.{'png' if i % 17 == 0 else suffix}"
        yield name, encoded(image, kind, **options)


def broken(np, Image, draw):
    image = Image.fromarray(np.frombuffer(draw.randbytes(40 * 40 * 3), np.uint8).reshape(40, 40, 3))
    png, jpeg, webp = encoded(image, "PNG"), encoded(image, "JPEG"), encoded(image, "WEBP")
    at = png.index(b"IDAT") + 40
    contents = {"truncated.png": png[:len(png) // 2], "truncated.jpg": jpeg[:len(jpeg) // 2], "truncated.webp": webp[:len(webp) // 2], "empty.png": b"",
                "page.jpg": b"<html>404</html>", "garbage.png": draw.randbytes(300), "checksum.png": png[:at] + bytes([png[at] ^ 255]) + png[at + 1:],
                "header.jpg": jpeg[:4], "gif.png": encoded(image.convert("P"), "GIF"), "riff.webp": webp[:12]}
    check(set(contents) == set(BROKEN), "broken files")
    return {f"{CLASSES[i % 3]}/{name}": contents[name] for i, name in enumerate(BROKEN)}


def adm(Image, image):
    """ADM's crop (guided-diffusion, image_datasets.py), of an RGB image."""
    while min(image.size) >= 2 * SIZE:
        image = image.resize(tuple(side // 2 for side in image.size), Image.Resampling.BOX)
    scale = SIZE / min(image.size)
    image = image.resize(tuple(round(side * scale) for side in image.size), Image.Resampling.BICUBIC)
    left, top = (image.size[0] - SIZE) // 2, (image.size[1] - SIZE) // 2
    return image.crop((left, top, left + SIZE, top + SIZE))


def rows_of(h5py, np, run, split):
    """Columns of a split, whole."""
    columns = {}
    for shard in sorted((run / "prepare" / split).glob("*.h5")):
        with h5py.File(shard) as file:
            for name in ("image", "label"):
                columns.setdefault(name, []).append(file[name][()])
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def shard_bytes(run):
    return {f"{split}/{file.name}": file.read_bytes() for split in ("train", "test") for file in sorted((run / "prepare" / split).iterdir()) if file.is_file()
            and file.suffix in (".h5", ".json", ".tsv") and file.name != "lock"}


def words(run, source, **more):
    settings = {"prepare.format": "auto", "prepare.source": source, "prepare.size": SIZE, "prepare.shard-rows": 50, "prepare.block-rows": 10,
                "prepare.name": "mixed", "pipeline.device": "cpu", "pipeline.threads": 1} | {key.replace("_", "-"): value for key, value in more.items()}
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))] + ["--run-dir", str(run)]


def killed(arguments, run, source):
    """Starts a prepare of two ranks and kills all of it when some shards are there."""
    command = [arguments.mpiexec, "--oversubscribe", "-n", "2", arguments.couplet, "stage", "prepare", *words(run, source, **{"prepare.skip-broken": "true"})]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(list((run / "prepare" / "train").glob("*.h5"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    ended = process.poll() is not None
    for name in subprocess.run(["pgrep", "-f", str(run)], capture_output=True, text=True).stdout.split():
        try:
            os.kill(int(name), signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    return not ended


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", type=Path, required=True, help="the program")
    parser.add_argument("--mpiexec", required=True, help="starts ranks")
    parser.add_argument("--tools", type=Path, required=True, help="directory that holds Pillow")
    parser.add_argument("--files", type=int, default=660, help="sound image files")
    parser.add_argument("--work", type=Path, required=True, help="directory for files and runs; emptied first")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.tools))
    import h5py
    import numpy as np
    from PIL import Image

    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    draw, program = random.Random(1), Program(arguments.couplet, arguments.mpiexec)
    sound, damaged = dict(pictures(np, Image, draw, arguments.files)), broken(np, Image, draw)
    folder = work / "mixed images, für alle"
    everything = list((sound | damaged | {"notes.txt": b"no image"}).items())
    draw.shuffle(everything)  # the order in which a file system has them
    for name, content in everything:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    # All broken files are named, and nothing is made.
    refused = program.call("stage", "prepare", *words(work / "refused", folder))
    check(refused.returncode == 2, f"status {refused.returncode} of broken files: {refused.stderr}")
    check(f"{len(BROKEN)} of {len(sound) + len(BROKEN)} images are broken" in refused.stderr, f"count of broken files: {refused.stderr}")
    for name in damaged:
        check(name in refused.stderr, f"{name} is not named: {refused.stderr}")
    check(not list((work / "refused").rglob("*.h5")), "shards of a refused data set")

    # The same shards on 1, 2 and 3 ranks, and after a kill.
    runs = {}
    for ranks in (1, 2, 3):
        runs[ranks] = work / f"ranks-{ranks}"
        said = program.works("stage", "prepare", *words(runs[ranks], folder, **{"prepare.skip-broken": "true"}), ranks=ranks)
        check(f"{len(BROKEN)} broken images are left out" in said and "grey to RGB" in said and "alpha dropped" in said, f"what was found: {said}")
    whole = shard_bytes(runs[1])
    check(len(whole) > arguments.files // 60 and any(name.endswith("files.tsv") for name in whole), f"files: {sorted(whole)}")
    for ranks in (2, 3):
        check(shard_bytes(runs[ranks]) == whole, f"{ranks} ranks make other files than one")
    stopped = 0
    for attempt in range(3):
        run = work / f"killed-{attempt}"
        stopped += killed(arguments, run, folder)
        program.works("stage", "prepare", *words(run, folder, **{"prepare.skip-broken": "true"}), ranks=1)
        check(shard_bytes(run) == whole, "a prepare that was killed ends with other files")
    check(stopped > 0, "no prepare was stopped in the middle")

    # Rows are what Pillow makes of the files that files.tsv names; labels are the folders.
    rows = {split: rows_of(h5py, np, runs[1], split) for split in ("train", "test")}
    names = set()
    for split in rows:
        lines = (runs[1] / "prepare" / split / "files.tsv").read_text().splitlines()
        check(lines[0].split("\t")[:4] == ["row", "file", "width", "height"], f"head of files.tsv: {lines[0]}")
        check(len(lines) == 1 + len(rows[split]["label"]), "lines of files.tsv")
        for line in lines[1:]:
            row, name, width, height = line.split("\t")[:4]
            image = Image.open(io.BytesIO(sound[name]))
            check(image.size == (int(width), int(height)), f"{name}: size {width} x {height}")
            expected = np.asarray(adm(Image, image.convert("RGB"))).transpose(2, 0, 1)
            check(np.array_equal(rows[split]["image"][int(row)], expected), f"{name}: other pixels than Pillow's")
            check(rows[split]["label"][int(row)] == CLASSES.index(name.split("/")[0]), f"{name}: label")
            names.add(name)
    check(names == set(sound), f"{len(names)} of {len(sound)} files")
    held_out = [int((rows["test"]["label"] == label).sum()) for label in range(3)]
    check(all(abs(count - arguments.files / 30) <= 1 for count in held_out), f"held out by class: {held_out}")

    # A zip, a tar and an npz of the same images.
    with zipfile.ZipFile(work / "images.zip", "w") as archive:
        for i, (name, content) in enumerate(everything):
            archive.writestr(name, content, zipfile.ZIP_STORED if i % 2 else zipfile.ZIP_DEFLATED)
    with tarfile.open(work / "images.tar", "w") as archive:
        for name, content in everything:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    order = sorted(sound, key=lambda name: [part.encode() for part in name.split("/")])
    crops = np.stack([np.asarray(adm(Image, Image.open(io.BytesIO(sound[name])).convert("RGB"))) for name in order])
    np.savez_compressed(work / "images.npz", images=crops, labels=np.array([CLASSES.index(name.split("/")[0]) for name in order]))
    for name, more in (("images.zip", {"prepare.skip-broken": "true"}), ("images.tar", {"prepare.skip-broken": "true"}), ("images.npz", {})):
        run = work / f"of-{name}"
        program.works("stage", "prepare", *words(run, work / name, **more), ranks=2)
        for split in rows:
            found = rows_of(h5py, np, run, split)
            check(all(np.array_equal(found[column], rows[split][column]) for column in found), f"{name}: other rows than the folder's ({split})")

    # inspect counts classes by their names.
    said = json.loads(program.works("inspect", "--json", runs[1] / "prepare" / "train"))["dataset"]
    check([one["name"] for one in said["classes"]] == list(CLASSES), f"classes: {said['classes']}")
    mean = rows["train"]["image"].astype(np.float64).mean((0, 2, 3))
    check(np.allclose([channel["mean"] for channel in said["channels"]], mean), f"means: {said['channels']}, expected {mean}")

    # What is refused.
    program.refuses(2, ["prepare.channels = 1", "in colour"], "stage", "prepare", *words(work / "grey", folder, **{"prepare.skip-broken": "true", "prepare.channels": 1}))
    (work / "empty").mkdir()
    program.refuses(2, [str(work / "empty")], "stage", "prepare", *words(work / "none", work / "empty"))
    shutil.copy(work / "images.tar", work / "cut.tar")
    os.truncate(work / "cut.tar", (work / "cut.tar").stat().st_size * 2 // 3)
    program.refuses(1, ["cut.tar", "cut short"], "stage", "prepare", *words(work / "cut", work / "cut.tar"))
    for run in ("grey", "none", "cut"):
        check(not list((work / run).rglob("*.h5")), f"{run}: shards of a refused data set")
    print(f"passed: {len(sound)} files, {stopped} of 3 runs killed in the middle")


if __name__ == "__main__":
    main()
