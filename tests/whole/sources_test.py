#!/usr/bin/env python3
"""Runs on two ranks from a folder of colour images, an npz file and CIFAR's binary files, to scores and pictures; the folder may be gone afterwards.
A run of a teacher alone, and what is added to it.
Needs numpy, and Pillow from the test tools."""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "whole")]
from lifecycle_test import TINY, Run, keys  # noqa: E402
from program import check  # noqa: E402

CLASSES = 3
CONFIG = TINY | {"prepare.format": "auto", "pipeline.ranks": 2, "teacher.patch": 8, "student.patch": 8, "student.channels": 24, "student.depth": 1,
                 "student.heads": 2, "student.ema": 0.5, "student.warmup": 1, "teacher.flips": "false", "couple.flips": "false",
                 "prepare.train-rows": 0, "prepare.test-rows": 0}


def images_of(count, label):
    """uint8 [count, 32, 32, 3]: blocks of a class's own colour under noise."""
    draw = np.random.default_rng(label)
    colour = np.eye(3)[label % 3] * 160 + 40
    return np.clip(colour + 30 * draw.standard_normal((count, 32, 32, 3)), 0, 255).astype(np.uint8)


def write_cifar(folder, count):
    """Five training batches and one of test, of 3073 bytes a record."""
    folder.mkdir()
    for name, share in [(f"data_batch_{i}.bin", count // 5) for i in range(1, 6)] + [("test_batch.bin", 60)]:
        labels = np.arange(share) % CLASSES
        pixels = np.stack([images_of(1, label)[0].transpose(2, 0, 1).reshape(-1) for label in labels])
        (folder / name).write_bytes(np.concatenate([labels[:, None].astype(np.uint8), pixels], 1).tobytes())


def finish(couplet, work, name, source, **more):
    run = Run(couplet, work / name)
    run.works("run", *keys(CONFIG | {"prepare.source": source} | {key.replace("__", "."): value for key, value in more.items()}))
    records = json.loads((run.directory / "evaluate/results.json").read_text())["records"]
    distances = [record["value"] for record in records if record["metric"] == "frechet_distance"]
    check(len(distances) >= 4 and all(value is not None and math.isfinite(value) for value in distances), f"{name}: distances {distances}")
    pictures = list((run.directory / "evaluate/pictures").glob("*.png"))
    check(pictures and (run.directory / "report/report.html").is_file(), f"{name}: no pictures or no report")
    return run, pictures


def goes_on_without(run, source):
    """What is there of the run is added to when its source is gone, and nothing but scores is made."""
    before = run.attempts()
    shutil.rmtree(source) if source.is_dir() else source.unlink()
    run.works("run", "--evaluate.euler-nfe", "1", "2", "4")
    after = run.attempts()
    again = [stage for stage in before if after[stage][0] != before[stage][0] and not stage.startswith(("evaluate", "report"))]
    check(not again, f"{run.directory}: stages that were made again: {again}")
    check(any('"nfe": 4' in name for name in run.scores()), f"{run.directory}: the score of four evaluations")


def teacher_alone(couplet, work, source):
    """Without students the teacher is trained, scored and reported; a student that is added would go on from it."""
    run = Run(couplet, work / "teacher-alone")
    printed = run.works("run", *keys(CONFIG | {"prepare.source": source, "evaluate.likelihood-rows": 20, "pipeline.ranks": 1}), "--student.compare", "")
    check("teacher:" in printed and "bits/dim" in printed, f"what a run of a teacher alone ends with: {printed[-1000:]}")
    check(set(run.attempts()) == {"prepare", "features", "teacher", "evaluate/real", "evaluate/teacher", "report"}, f"stages: {sorted(run.attempts())}")
    run.complete()
    page = (run.directory / "report/report.html").read_text()
    check("How good are the teacher's samples?" in page and "Which" not in page, "the report of a teacher alone")
    check(not run.planned(), "a finished run plans stages")
    run.works("sample", "--model", "teacher", "--count", 4, "--output", work / "teacher.png")
    added = run.planned("--student.compare", "nf")
    check(added == {"coupling/nf", "evaluate/table-nf", "student/nf-0", "evaluate/nf-0", "report"}, f"with a student there would be made: {sorted(added)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", type=Path, required=True, help="the program")
    parser.add_argument("--tools", type=Path, required=True, help="directory that holds Pillow")
    parser.add_argument("--work", type=Path, required=True, help="directory for data sets and runs; emptied first")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.tools))
    from PIL import Image

    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    folder = work / "images"
    for label in range(CLASSES):
        (folder / f"class {label}").mkdir(parents=True)
        for i, image in enumerate(images_of(120, label)):
            Image.fromarray(image).resize((45, 40)).save(folder / f"class {label}" / f"{i}.png")
    run, pictures = finish(arguments.couplet, work, "of-folder", folder, **{"prepare__size": 32, "student__compare": "nf independent"})
    sheet = Image.open(next(path for path in pictures if "euler" in path.name))
    check(sheet.mode == "RGB", f"a picture of mode {sheet.mode}")

    goes_on_without(run, folder)

    images = np.concatenate([images_of(120, label) for label in range(CLASSES)])
    np.savez(work / "images.npz", x_train=images, y_train=np.repeat(np.arange(CLASSES), 120), x_test=images[::5], y_test=np.repeat(np.arange(CLASSES), 24))
    run, _ = finish(arguments.couplet, work, "of-npz", work / "images.npz", student__compare="independent")
    goes_on_without(run, work / "images.npz")
    write_cifar(work / "cifar", 300)
    teacher_alone(arguments.couplet, work, work / "cifar")
    run, _ = finish(arguments.couplet, work, "of-cifar", work / "cifar", student__compare="independent")
    goes_on_without(run, work / "cifar")
    print("passed")


if __name__ == "__main__":
    main()
