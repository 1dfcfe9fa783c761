#!/usr/bin/env python3
"""Runs on latents, of a run's own autoencoder and of a codec file: to scores and pictures on two ranks; the same latents on 1, 2 and 3 ranks and after
SIGKILL; latents that came from elsewhere; what does not fit is refused before any work. Needs numpy, h5py, and Pillow from the test tools."""

import argparse
import io
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "whole")]
from lifecycle_test import TINY, Run, keys  # noqa: E402
from program import Program, check  # noqa: E402

CLASSES = 3
CONFIG = TINY | {"prepare.format": "arrays", "pipeline.ranks": 2, "prepare.train-rows": 0, "prepare.test-rows": 0, "prepare.shard-rows": 50,
                 "prepare.block-rows": 50, "latents.codec": "autoencoder", "autoencoder.factor": 4, "autoencoder.channels": 8, "autoencoder.images": 2400,
                 "autoencoder.batch": 24, "autoencoder.warmup": 5, "student.preview-every": 5, "student.preview-samples": 20, "teacher.flips": "false", "couple.flips": "false", "teacher.patch": 2,
                 "student.patch": 2, "student.channels": 24, "student.depth": 1, "student.heads": 2, "student.ema": 0.5, "student.warmup": 1}


def images_of(count, label):
    """uint8 [count, 32, 32, 3]: a class's own colour, brighter towards one side, under a little noise."""
    draw = np.random.default_rng(label)
    colour = np.eye(3)[label % 3] * 120 + 40
    slope = np.linspace(0, 60, 32)[None, :, None] * draw.random((count, 1, 1, 1))
    return np.clip(colour + slope + 4 * draw.standard_normal((count, 32, 32, 3)), 0, 255).astype(np.uint8)


def write_npz(path):
    images = np.concatenate([images_of(80, label) for label in range(CLASSES)])
    held_out = np.concatenate([images_of(97, label)[80:] for label in range(CLASSES)])
    np.savez(path, x_train=images, y_train=np.repeat(np.arange(CLASSES), 80), x_test=held_out, y_test=np.repeat(np.arange(CLASSES), 17))


def shards(run):
    """The bytes of all shards of latents, by split and name."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in sorted((run.directory / "latents").glob("*/*.h5"))}


def manifest(run, table):
    return json.loads((run.directory / table / "manifest.json").read_text())


def check_rows(run):
    """Rows 2i and 2i + 1 are image i and its mirror image; held-out ones are not mirrored; deviations are none below 0."""
    train, test = manifest(run, "latents/train"), manifest(run, "latents/test")
    prepared = manifest(run, "prepare/train")
    check(train["rows"] == 2 * prepared["rows"], f"{train['rows']} latents of {prepared['rows']} images")
    check(test["rows"] == manifest(run, "prepare/test")["rows"], "held-out rows")
    check(train["summary"]["class_counts"] == [2 * count for count in prepared["summary"]["class_counts"]], "class counts")
    for path in sorted((run.directory / "latents/train").glob("*.h5")):
        with h5py.File(path) as file:
            first = int(file.attrs["first_row"])
            row = first + np.arange(file["label"].shape[0])
            check((file["prepared_row"][:] == row // 2).all() and (file["flip"][:] == row % 2).all(), f"{path}: which rows")
            latents = file["image"][:]
            check(latents.dtype == np.float16 and latents.shape[1:] == (8, 8, 8), f"{path}: {latents.dtype} {latents.shape}")
            check((latents[:, 4:] >= 0).all() and np.isfinite(latents).all(), f"{path}: deviations")
            # A mirror image has a latent of its own, near the mirrored one of the image.
            mean = latents[:, :4].astype(np.float32)
            if first % 2 == 0 and len(mean) > 1:
                near = np.abs(mean[1::2] - mean[0:len(mean) // 2 * 2:2, :, :, ::-1]).mean()
                check(0 < near, f"{path}: mirror images are stored as mirrored latents")


def check_pairs(run):
    """What the table holds of an image is a draw of its latent, scaled: within a few deviations of the mean."""
    form = h5_provenance(sorted((run.directory / "latents/train").glob("*.h5"))[0])["latent"]
    scale = form["scale"][0]
    check(form["drawn"] and scale > 0 and form["pixels"] == [3, 32, 32], f"latent form {form}")
    with h5py.File(sorted((run.directory / "coupling/nf/train").glob("*.h5"))[0]) as pairs:
        seen, sample, flip = pairs["image"][:].astype(np.float32), pairs["sample"][:], pairs["flip"][:]
    check((flip == 0).all() and (sample == np.arange(len(sample))).all(), "rows of the table")
    stored = np.concatenate([h5py.File(path)["image"][:] for path in sorted((run.directory / "latents/train").glob("*.h5"))])[:len(seen)].astype(np.float32)
    mean, deviation = stored[:, :4], stored[:, 4:]
    draw = (seen / scale - mean) / np.maximum(deviation, 1e-6)
    rounding = 2e-3 * np.abs(seen / scale) / np.maximum(deviation, 1e-6)
    check((np.abs(draw) < 6 + rounding).all(), f"draws up to {np.abs(draw).max()}")
    wide = deviation > 100 * np.abs(mean) * 2**-11
    if wide.sum() > 1000:
        check(abs(draw[wide].std() - 1) < 0.05, f"draws have the deviation {draw[wide].std()}")


def h5_provenance(path):
    with h5py.File(path) as file:
        return json.loads(file.attrs["provenance"])


def check_scores(run, name):
    records = json.loads((run.directory / "evaluate/results.json").read_text())["records"]
    distances = [record["value"] for record in records if record["metric"] == "frechet_distance"]
    check(len(distances) >= 5 and all(value is not None and math.isfinite(value) for value in distances), f"{name}: distances {distances}")
    of = {record["metric"]: record["value"] for record in records if record["model"] == "reconstruction"}
    check(set(of) >= {"frechet_distance", "psnr", "ssim"} and of["psnr"] > 10, f"{name}: reconstruction {of}")
    pictures = {path.name for path in (run.directory / "evaluate/pictures").glob("*.png")}
    check("reconstruction.png" in pictures and len(pictures) > 3, f"{name}: pictures {pictures}")
    page = (run.directory / "report/report.html").read_text()
    check("from their latents" in page, f"{name}: no section on latents in the report")


def column(table, name):
    """A column of all shards."""
    return np.concatenate([h5py.File(path)[name][:] for path in sorted(table.glob("*.h5"))])


def write_edm2(run, path):
    """The latents of a run's training images as EDM2's dataset_tool.py encode leaves them. Returns them."""
    latents, labels = column(run.directory / "latents/train", "image"), column(run.directory / "latents/train", "label")
    names = [f"{row // 100:05d}/img-mean-std-{row:08d}.npy" for row in range(len(latents))]
    with zipfile.ZipFile(path, "w") as archive:
        for name, latent in zip(names, latents):
            file = io.BytesIO()
            np.save(file, latent.astype(np.float32))
            archive.writestr(name, file.getvalue())
        archive.writestr("dataset.json", json.dumps({"labels": [[name, int(label)] for name, label in zip(names, labels)]}))
    return latents, labels


def ready_made(program, encoded, settings, work):
    """A run on latents that another program could have made: the same rows, no stage that encodes, pixels by the program that is given."""
    latents, labels = write_edm2(encoded, work / "edm2.zip")
    settings = settings | {"prepare.format": "latents", "prepare.source": work / "edm2.zip"}
    run = Run(program.couplet, work / "ready-made")
    pixels = {key: value for key, value in settings.items() if not key.startswith("latents.")}
    for others, parts in ((pixels, ["prepare.format = latents", "latents.codec = script"]),
                          (settings | {"prepare.format": "auto"}, ["prepare.format = latents", "latents.file"]),
                          (settings | {"couple.flips": "true"}, ["couple.flips", "rows of the data set"]),
                          (settings | {"latents.scale": "1 2 3"}, ["latents.scale", "4 channels"]),
                          (settings | {"prepare.codec": "float"}, ["prepare.codec"])):
        program.refuses(2, parts, *[str(word) for word in run.words("run", *keys(others))[1:]])
    check(not run.directory.exists(), "a refused run left a directory")
    run.works("run", *keys(settings))
    check(not (run.directory / "latents").exists(), "images were encoded")
    check((run.directory / "prepare/codec.pt").read_bytes() == Path(settings["latents.file"]).read_bytes(), "another program is kept")
    seen = set()
    for split in ("train", "test"):
        table = run.directory / "prepare" / split
        file_of = [line.split("\t")[1] for line in (table / "files.tsv").read_text().splitlines()[1:]]
        source = np.array([int(name[-12:-4]) for name in file_of])
        check((column(table, "image") == latents[source]).all() and (column(table, "label") == labels[source]).all(), f"rows of {split}")
        seen.update(source.tolist())
    check(seen == set(range(len(latents))), "rows are missing")
    first = sorted((run.directory / "prepare/train").glob("*.h5"))[0]
    form = h5_provenance(first)["latent"]
    stored = column(run.directory / "prepare/train", "image")
    measured = min(256, len(stored))
    means = stored[np.arange(measured) * len(stored) // measured, :4].astype(np.float64)
    check(abs(form["scale"][0] * means.std() - 1) < 1e-6 and form["pixels"] == [3, 32, 32], f"latent form {form}")
    records = json.loads((run.directory / "evaluate/results.json").read_text())["records"]
    distances = [record["value"] for record in records if record["metric"] == "frechet_distance"]
    check(len(distances) >= 3 and all(value is not None and math.isfinite(value) for value in distances), f"distances {distances}")
    check(not any(record["model"] == "reconstruction" for record in records), "latents from elsewhere have no images to be compared with")
    check(list((run.directory / "evaluate/pictures").glob("independent-0*.png")), "no pictures of samples")
    program.works("inspect", run.directory / "prepare/train", "--pictures", work / "ready-made.png", "--rows", "0-7")
    shutil.move(work / "edm2.zip", work / "gone.zip")
    before = run.attempts()
    run.works("run")
    check(run.attempts() == {name: run.attempts()[name] for name in before}, "stages of a finished run whose source is gone")


def killed_and_again(couplet, whole, work):
    """Copies of a run whose latents are deleted, killed while they are made anew."""
    expected = shards(whole)
    draw, killed = random.Random(1), 0
    for attempt in range(3):
        run = whole.copy(f"killed-{attempt}")
        shutil.rmtree(run.directory / "latents")
        process = subprocess.Popen(list(map(str, run.words("stage", "latents"))), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 60
        while not list((run.directory / "latents").glob("train/*.h5")) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.02 * draw.random())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += len(shards(run)) < len(expected)
        run.works("stage", "latents")
        check(shards(run) == expected, f"shards after SIGKILL, attempt {attempt}")
        shutil.rmtree(run.directory)
    check(killed > 0, "no stage was killed before its last shard")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", type=Path, required=True, help="the program")
    parser.add_argument("--mpiexec", required=True, help="mpirun or mpiexec")
    parser.add_argument("--tools", type=Path, required=True, help="directory that holds Pillow")
    parser.add_argument("--work", type=Path, required=True, help="directory for data sets and runs; emptied first")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.tools))
    from PIL import Image

    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    write_npz(work / "images.npz")
    program = Program(arguments.couplet, arguments.mpiexec)
    settings = CONFIG | {"prepare.source": work / "images.npz"}

    # What cannot work is refused, and nothing is made.
    run = Run(arguments.couplet, work / "refused")
    for more, parts in (({"teacher.flips": "true"}, ["teacher.flips", "latents.flips"]), ({"couple.flips": "true"}, ["couple.flips", "latents.flips"]),
                        ({"couple.nf.flips": "true"}, ["couple.nf.flips", "latents.flips"]), ({"latents.scale": "1 0 1 1"}, ["latents.scale", "0 alone"]),
                        ({"latents.codec": "script"}, ["latents.file"]), ({"latents.scale": "1 2"}, ["latents.scale", "4 channels"]),
                        ({"autoencoder.factor": 3}, ["autoencoder.factor"]), ({"prepare.condition": "low-resolution"}, ["prepare.condition"])):
        words = [str(word) for word in run.words("run", *keys(settings | more))[1:]]
        program.refuses(2, parts, *words)
    check(not run.directory.exists(), "a refused run left a directory")

    run = Run(arguments.couplet, work / "own")
    run.works("run", *keys(settings | {"student.compare": "nf independent"}))
    run.complete()
    check_rows(run)
    check_pairs(run)
    check_scores(run, "own autoencoder")
    sheet = Image.open(run.directory / "evaluate/pictures/reconstruction.png")
    check(sheet.mode == "RGB", f"a picture of mode {sheet.mode}")
    run.works("sample", "--model", "nf-0", "--count", "4", "--output", work / "samples.npz")
    with np.load(work / "samples.npz") as made:
        check(made["arr_0"].shape == (4, 32, 32, 3), f"samples {made['arr_0'].shape}")
    program.works("inspect", run.directory / "latents/train", "--pictures", work / "latents.png", "--rows", "0-7")
    program.works("inspect", run.directory / "coupling/nf/train", "--pictures", work / "pairs.png", "--rows", "0-7")
    check(Image.open(work / "latents.png").mode == "RGB" and Image.open(work / "pairs.png").mode == "RGB", "pictures of rows")
    # A finished run stays finished. Another scale is another data set, which makes all that is behind the latents anew.
    before = run.attempts()
    run.works("run")
    check(run.attempts() == before, "stages of a finished run")
    other = run.copy("rescaled")
    program.refuses(2, ["latents.scale"], "run", "--run-dir", other.directory, "--latents.scale", 0.5)
    other.works("run", "--latents.scale", 0.5, "--redo", "latents", "--student.compare", "nf")
    kept = {"prepare", "features", "autoencoder"}
    again = {name for name, begun in other.attempts().items() if begun != before.get(name)}
    check(not again & kept and again >= {"latents", "teacher", "coupling/nf", "student/nf-0", "evaluate/nf-0"}, f"made again: {again}")
    form = h5_provenance(sorted((other.directory / "latents/train").glob("*.h5"))[0])["latent"]
    check(form["scale"] == [0.5] and shards(other) != shards(run), f"form {form}")
    check({name: content[-4096:] for name, content in shards(other).items()}.keys() == shards(run).keys(), "shards")
    shutil.rmtree(other.directory)

    # The same codec as a file, on another number of ranks: the same latents, but for the note whose program it is.
    codec = work / "codec.pt"
    shutil.copy(run.directory / "autoencoder/codec.pt", codec)
    others = {}
    for ranks in (1, 2, 3):
        other = Run(arguments.couplet, work / f"of-file-{ranks}")
        file_settings = {key: value for key, value in settings.items() if not key.startswith("autoencoder.")}
        file_settings |= {"latents.codec": "script", "latents.file": codec, "pipeline.ranks": ranks, "student.compare": "independent"}
        if ranks == 2:
            other.works("run", *keys(file_settings))
            check_scores(other, "codec file")
        else:
            other.directory.mkdir()
            for stage in ("prepare", "latents"):
                program.works("stage", stage, "--run-dir", other.directory, *keys(file_settings), ranks=ranks)
        others[ranks] = shards(other)
        check(others[ranks] == shards(run), f"latents on {ranks} ranks are others than those of the run's own autoencoder")
    # The file may go: what is complete goes on with the copy beside the latents, and a stage that is not, too.
    codec_bytes = codec.read_bytes()
    codec.unlink()
    gone = Run(arguments.couplet, work / "of-file-2")
    gone.works("run", "--evaluate.euler-nfe", "1", "2", "4")
    next((gone.directory / "latents/test").glob("*.h5")).unlink()
    note = gone.directory / "latents/stage.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"state": "started"}))  # as if it had been killed
    gone.works("stage", "latents")
    check(shards(gone) == shards(run), "latents that were completed without the file")
    gone.works("run")
    codec.write_bytes(codec_bytes)
    killed_and_again(arguments.couplet, Run(arguments.couplet, work / "of-file-2"), work)
    ready_made(program, Run(arguments.couplet, work / "of-file-2"), file_settings | {"pipeline.ranks": 2}, work)

    # Another program in its place is refused where pixels are made.
    other = Run(arguments.couplet, work / "of-file-2")
    (other.directory / "latents/codec.pt").write_bytes(codec.read_bytes()[:-1] + b"x")
    program.refuses(2, ["codec.pt", "another codec"], "sample", "--run-dir", other.directory, "--model", "independent-0", "--count", "1", "--output",
                    work / "none.npz")
    print("passed")


if __name__ == "__main__":
    main()
