#!/usr/bin/env python3
"""Super-resolution, as its users run it: training, the figures of restored images against numpy's, samples of a folder, what is refused."""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "whole")]
from lifecycle_test import TINY, Run, keys  # noqa: E402
from png_writer import write_png  # noqa: E402
from program import Program, check  # noqa: E402
from table_images import images_of  # noqa: E402

CONFIG = TINY | {"prepare.condition": "low-resolution", "prepare.factor": 4, "student.compare": "fm low", "student.label-drop": 1,
                 "student.coupling": "independent", "student.low.coupling": "low-resolution", "student.preview-every": 5, "student.preview-samples": 0,
                 "student.channels": 24, "student.depth": 1, "student.heads": 2, "student.ema": 0.5, "student.warmup": 1,
                 "student.learning-rate": 0.01, "couple.flips": "false"}
FACTOR = 4


def low_resolution(images):
    """Means of blocks, halves up: uint8 [n, 1, 7, 7]."""
    n, c, h, w = images.shape
    means = images.astype(np.float64).reshape(n, c, h // FACTOR, FACTOR, w // FACTOR, FACTOR).mean((3, 5))
    return np.floor(means + 0.5).astype(np.uint8)


def write_folder(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        write_png(folder / f"{i:04d}.png", [row.tobytes() for row in image[0]])
    return folder


def records_of(run):
    return json.loads((run / "evaluate/results.json").read_text())["records"]


def value(records, metric, **wanted):
    found = [record for record in records if record["metric"] == metric and all(record.get(name) == one for name, one in wanted.items())]
    check(len(found) == 1, f"{metric} of {wanted}: {len(found)} records")
    return found[0]["value"]


def check_records(run, images):
    records = records_of(run)
    for record in records:
        check((record["condition"], record["factor"], record["degradation"]) == ("low-resolution", FACTOR, "area"),
              f"a record does not say how images lost their resolution: {record}")
    check(value(records, "restoration_psnr", model="real") is None and value(records, "consistency", model="real") == 0,
          "a held-out image is its own restoration")
    check(abs(value(records, "held_out_frechet_distance", model="real")) < 1e-6, "held-out images are at distance 0 from themselves")
    check(value(records, "held_out_frechet_distance", model="upsampling") > 0, "enlarged low resolutions are not the images")
    check({record["student"] for record in records if record["metric"] == "consistency" and record["model"] == "student"} == {"fm", "low"},
          "a student has no consistency")
    return records


def check_report(run):
    table = json.loads((run / "report/report.json").read_text())["restoration"]
    names = [row["name"] for row in table["rows"]]
    check(names[:2] == ["held-out images", "enlarged low resolution"] and {"fm", "low"} <= set(names[2:]), f"rows: {names}")
    titles = [column["title"] for column in table["columns"]]
    check({"FD train", "FD test", "PSNR", "SSIM", "consistency"} <= set(titles), f"columns: {titles}")
    check(all(picture["there"] for picture in table["pictures"]) and len(table["pictures"]) == 2, "a picture is missing")


def check_samples(program, arguments, run, records, images):
    """Restored from files as the evaluation restores them, whatever the number of ranks."""
    folder = write_folder(arguments.work / "small", low_resolution(images)[:40])
    made = []
    for ranks in (0, 3):
        for model in ("fm-0", "low-0"):
            path = arguments.work / f"{model}-{ranks}.npz"
            program.works("sample", "--run-dir", run, "--model", model, "--nfe", 2, "--low-resolution", folder, "--output", path, "--batch", 20,
                          ranks=ranks)
            made.append(path)
    for one, three in zip(made[:2], made[2:]):
        check(one.read_bytes() == three.read_bytes(), f"{one.name} and {three.name} differ")
    for path, student in zip(made, ("fm", "low")):
        with np.load(path) as file:
            restored, labels = file["arr_0"].transpose(0, 3, 1, 2), file["arr_1"]
        check(restored.shape == (40, 1, 28, 28) and (labels == 10).all(), "one sample an image, of no class")
        error = ((restored.astype(float) - images[:40])**2).reshape(40, -1).mean(1)
        lost = (low_resolution(restored).astype(float) - low_resolution(images[:40])) / 255
        setting = {"student": student, "solver": "euler", "nfe": 2}
        for metric, expected in (("restoration_psnr", (10 * np.log10(255**2 / error)).mean()), ("consistency", (lost**2).mean())):
            found = value(records, metric, **setting)
            check(abs(found - expected) < 1e-3 * abs(expected), f"{metric} of {student} is {found}, numpy's of its samples {expected}")
    # From the same noise, another image is made of another low resolution.
    other = arguments.work / "other.npz"
    program.works("sample", "--run-dir", run, "--model", "fm-0", "--nfe", 2, "--low-resolution",
                  write_folder(arguments.work / "reversed", low_resolution(images)[:40][::-1]), "--output", other, "--batch", 20)
    with np.load(made[0]) as ours, np.load(other) as theirs:
        changed = (ours["arr_0"] != theirs["arr_0"]).reshape(40, -1).mean(1)
        check((changed > 0.1).mean() > 0.8, f"a low resolution changes hardly anything: {changed}")
    # Images are used in turn, each time with other noise.
    path = arguments.work / "more.npz"
    program.works("sample", "--run-dir", run, "--model", "fm-0", "--nfe", 2, "--low-resolution", folder, "--count", 50, "--output", path, "--batch", 20)
    with np.load(path) as file:
        check(len(file["arr_0"]) == 50 and not np.array_equal(file["arr_0"][40], file["arr_0"][0]), "the 41st sample has noise of its own")
    return folder


def check_added_student(run):
    before = run.attempts()
    run.works("run", *keys({"student.compare": "fm low twin", "student.twin.coupling": "low-resolution", "student.twin.source-noise": 0.5}))
    after = run.attempts()
    check({name for name in after if before.get(name) != after[name]} == {"student/twin-0", "evaluate/twin-0", "report"},
          f"adding a student made other stages again: {after}")


def check_refusals(program, arguments, run, folder):
    def sample(parts, *words, model="fm-0"):
        program.refuses(2, parts, "sample", "--run-dir", run, "--model", model, "--output", arguments.work / "none.npz", *words)

    sample(["1 x 7 x 7", "--low-resolution"])
    wrong = write_folder(arguments.work / "wrong", np.zeros((2, 1, 8, 8), np.uint8))
    sample(["1 x 8 x 8", "expected 1 x 7 x 7", "prepare.factor = 4"], "--low-resolution", wrong)
    sample(["no-such-folder"], "--low-resolution", arguments.work / "no-such-folder")
    sample(["--labels", "student.label-drop = 1"], "--low-resolution", folder, "--labels", 3)
    program.refuses(2, ["prepare.condition = low-resolution", "willisma/SiT"], "export", "--run-dir", run, "--model", "fm-0", "--output",
                    arguments.work / "none.safetensors")

    def start(parts, changed):
        program.refuses(2, parts, "run", "--run-dir", arguments.work / "refused", *keys(CONFIG | changed))

    start(["prepare.factor = 8", "28 pixels"], {"prepare.factor": 8})
    start(["prepare.factor = 3", "2, 4 or 8"], {"prepare.factor": 3})
    start(["evaluate.samples = 61", "there are 60", "prepare.test-rows"], {"evaluate.samples": 61})
    start(["student.low.coupling = low-resolution", "prepare.condition = none"], {"prepare.condition": "none"})
    start(["student.low.mix", "low-resolution"], {"student.low.mix": 0.2})
    start(["reflow", "prepare.condition = low-resolution"], {"student.compare": "fm again", "student.again.coupling": "reflow",
                                                             "student.again.reflow-of": "fm"})
    start(["evaluate.guidance", "label-drop = 1"], {"evaluate.guidance": "1 2"})
    changed = program.call("run", "--run-dir", run, *keys({"prepare.degradation": "bicubic"}))
    check(changed.returncode == 2 and "prepare.degradation" in changed.stderr, f"another degradation is not refused: {changed.stderr}")


def check_unconditional(program, arguments, folder):
    run = arguments.work / "unconditional"
    few = {"prepare.condition": "none", "student.compare": "fm", "student.images": 48, "features.images": 48}
    program.works("run", "--run-dir", run, *keys(CONFIG | few))
    check(not any("condition" in record or record["model"] == "upsampling" for record in records_of(run)), "an unconditional run restores nothing")
    program.refuses(2, ["--low-resolution", "prepare.condition = none"], "sample", "--run-dir", run, "--model", "fm-0", "--low-resolution", folder,
                    "--output", arguments.work / "none.npz")


def main():
    parser = argparse.ArgumentParser()
    for name in ("couplet", "mpiexec", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    program, run = Program(arguments.couplet, arguments.mpiexec), Run(arguments.couplet, arguments.work / "run")
    said = run.works("run", *keys(CONFIG))
    check("enlarged low resolution" in said and "consistency" in said, f"the table is not printed: {said[-2000:]}")
    images = images_of(run.directory / "prepare" / "test")
    records = check_records(run.directory, images)
    check_report(run.directory)
    folder = check_samples(program, arguments, run.directory, records, images)
    check_refusals(program, arguments, run.directory, folder)
    check_added_student(run)
    check_unconditional(program, arguments, folder)
    print("super-resolution: as expected")


if __name__ == "__main__":
    main()
