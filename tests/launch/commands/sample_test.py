#!/usr/bin/env python3
"""couplet sample on a tiny run: .npz, folder and picture read by numpy and zlib, on 1, 2 and 3 ranks, beside the evaluate stage's own samples;
what is refused, not finite, stopped, killed, out of space."""

import argparse
import json
import math
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from png_file import read_png  # noqa: E402
from program import Program, check  # noqa: E402

SLICE = 20  # rows made at once
TINY = {"prepare.train-rows": 300, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "features.images": 240, "features.batch": 24, "features.dimension": 8, "teacher.images": 240, "teacher.batch": 24,
        "couple.shard-rows": 150, "couple.block-rows": 50, "couple.slice-rows": 50, "student.images": 240, "student.batch": 24,
        "student.learning-rate": 1e-2, "student.window-blocks": 4, "evaluate.samples": 2 * SLICE, "evaluate.slice-rows": SLICE,
        "evaluate.euler-nfe": "1 2", "evaluate.heun-nfe": 3, "evaluate.midpoint-nfe": 4, "evaluate.rk4-nfe": 4, "evaluate.ancestral-nfe": 3,
        "evaluate.sde-nfe": 2, "evaluate.corrector-nfe": 4, "evaluate.times": "0 0.2 1",
        "evaluate.dopri5": "true", "evaluate.atol": 1e-2, "evaluate.rtol": 1e-2, "evaluate.guidance": 1.5, "evaluate.guidance-from": 0.2,
        "evaluate.guidance-to": 0.9, "evaluate.teacher-guidance": 0.5, "evaluate.teacher-annealed": "true", "evaluate.teacher-temperature": 0.8,
        "evaluate.candidates": "1 4", "noise-classifier.images": 240, "noise-classifier.batch": 24, "noise-classifier.channels": 4,
        "evaluate.sampling-seeds": 3, "evaluate.curvature-samples": 0, "evaluate.pairing-rows": 0, "pipeline.device": "cpu", "pipeline.threads": 1}
STAGES = ("prepare", "features", "teacher", "couple", "noise-classifier", "student/nf-0", "evaluate/teacher", "evaluate/nf-0")
GUIDED = ("--guidance", "1.5", "--guidance-from", "0.2", "--guidance-to", "0.9")
# By the names of the evaluate stage's pictures.
STUDENT_WAYS = {"euler-uniform-nfe-01": ("--nfe", "1"), "euler-uniform-nfe-02": ("--nfe", "2"),
                "euler-squared-nfe-02": ("--nfe", "2", "--grid", "squared"), "heun-uniform-nfe-03": ("--solver", "heun", "--nfe", "3"),
                "midpoint-squared-nfe-04": ("--solver", "midpoint", "--nfe", "4", "--grid", "squared"),
                "rk4-uniform-nfe-04": ("--solver", "rk4"), "ancestral-squared-nfe-03": ("--solver", "ancestral", "--nfe", "3", "--grid", "squared"),
                "sde-uniform-nfe-02": ("--solver", "sde", "--nfe", "2"), "corrector-uniform-nfe-04": ("--solver", "corrector"),
                "euler-times-nfe-02": ("--times", "0 0.2 1"),
                "heun-times-nfe-03": ("--times", "0,0.2,1", "--solver", "heun"), "dopri5": ("--solver", "dopri5", "--atol", "0.01", "--rtol", "0.01")}
TEACHER = ("--model", "teacher", "--guidance", "0.5", "--annealed", "--temperature", "0.8")


class Sampling(Program):
    def __init__(self, arguments, run):
        super().__init__(arguments.couplet, arguments.mpiexec)
        self.run, self.work = run, arguments.work

    def words(self, output, *words):
        path = output if output.startswith("/") else f"{self.work}/{output}"  # text: a / at the end counts
        return "sample", "--run-dir", self.run, "--output", path, *words

    def make(self, output, *words, ranks=0):
        """Samples under a name in the working directory; what the program printed."""
        return self.works(*self.words(output, *words), ranks=ranks)

    def not_made(self, status, parts, output, *words):
        """Refused, or failed, with nothing left of it."""
        before = sorted(self.work.rglob("*"))
        self.refuses(status, parts, *self.words(output, *words))
        check(sorted(self.work.rglob("*")) == before, f"{words}: files came or went")


def arrays(path):
    with np.load(path) as file:
        check(sorted(file) == ["arr_0", "arr_1"], f"arrays {sorted(file)}")
        images, labels = file["arr_0"], file["arr_1"]
    check(images.dtype == np.uint8 and images.ndim == 4 and images.shape[1:] == (28, 28, 1), f"arr_0 {images.dtype} {images.shape}")
    check(labels.dtype == np.int64 and labels.shape == images.shape[:1], f"arr_1 {labels.dtype} {labels.shape}")
    return images, labels


def check_evaluation(program, run):
    """The same bytes as the pictures of the evaluate stage, by every way of sampling."""
    pictures = run / "evaluate/pictures"
    same = ("--count", SLICE, "--batch", SLICE, "--labels", "data", "--seed", "3")
    for name, words in STUDENT_WAYS.items():
        told = program.make("way.png", "--overwrite", *same, *GUIDED, *words)
        check((program.work / "way.png").read_bytes() == (pictures / f"nf-0-fresh-{name}-guidance-1.5.png").read_bytes(), f"{name} is not the evaluation's")
        nfe = int(name[-2:]) if "nfe" in name else 0
        check(f"NFE {nfe}" in told if nfe else "a sample (" in told and " a batch)" in told, f"the evaluations made by {name}: {told}")
    records = json.loads((run / "evaluate/nf-0/records.json").read_text())["records"]
    dopri5 = next(record for record in records if record["solver"] == "dopri5" and record["metric"] == "frechet_distance")
    told = program.make("adaptive.npz", "--count", 2 * SLICE, *same[2:], *GUIDED, *STUDENT_WAYS["dopri5"])
    check(f"NFE {dopri5['nfe_mean']:.1f} a sample ({dopri5['nfe_min']} to {dopri5['nfe_max']} a batch)" in told, f"NFE of dopri5: {told}")
    for name, words in {"teacher-denoised": (), "teacher": ("--no-denoising",)}.items():
        program.make("way.png", "--overwrite", *same, *TEACHER, *words)
        check((program.work / "way.png").read_bytes() == (pictures / f"{name}.png").read_bytes(), f"{name} is not the evaluation's")
    program.make("all.npz", *same, *TEACHER)
    program.make("plain.npz", *same, "--model", "teacher")
    check(not np.array_equal(arrays(program.work / "all.npz")[0], arrays(program.work / "plain.npz")[0]), "the teacher's guidance does nothing")


def check_candidates(program, run):
    """One of several noises, chosen as the evaluate stage does; one alone is the sample's own."""
    words = ("--count", SLICE, "--batch", SLICE, "--labels", "data", "--seed", "3", "--nfe", "2", *GUIDED)
    picture = run / "evaluate/pictures/nf-0-fresh-euler-uniform-nfe-02-guidance-1.5.png"
    for count, path in ((1, picture), (4, picture.with_name(f"{picture.stem}-candidates-4.png"))):
        told = program.make("way.png", "--overwrite", *words, "--candidates", count)
        check((program.work / "way.png").read_bytes() == path.read_bytes(), f"{count} candidates are not the evaluation's")
        check(("4 candidates" in told) == (count == 4), f"candidates: {told}")
    check(path.read_bytes() != picture.read_bytes(), "candidates do nothing")
    program.not_made(2, ["--candidates", "teacher"], "refused.npz", "--model", "teacher", "--candidates", "2")
    program.not_made(2, ["--candidates 5000", "1024"], "refused.npz", "--candidates", "5000")
    away = (run / "noise-classifier").rename(run / "away")
    program.not_made(2, ["noise-classifier/nf", "evaluate.noise-classifier = true"], "refused.npz", "--candidates", "4")
    away.rename(run / "noise-classifier")


def check_outputs(program):
    """One set of samples in three forms."""
    words = ("--count", "47", "--batch", "10", "--nfe", "2", "--labels", "3, 1 4")
    for output in ("set.npz", "set", "set.png"):
        program.make(output, *words)
    images, labels = arrays(program.work / "set.npz")
    check(np.array_equal(labels, np.resize([3, 1, 4], 47)), f"labels {labels}")
    check(images.std() > 10 and len({image.tobytes() for image in images}) == 47, "47 images that differ")
    names = sorted(path.name for path in (program.work / "set").iterdir())
    check(names == [f"{i:06d}-class-{label}.png" for i, label in enumerate(labels)], f"files {names}")
    picture = read_png(program.work / "set.png")
    check(picture.shape == (16 * 30 - 2, 3 * 30 - 2), f"picture of {picture.shape}")
    for i, name in enumerate(names):
        line, column = divmod(i, 3)
        check(np.array_equal(read_png(program.work / "set" / name), images[i, :, :, 0]), f"{name} and arr_0")
        check(np.array_equal(picture[30 * line:30 * line + 28, 30 * column:30 * column + 28], images[i, :, :, 0]), f"sample {i} of the picture")


def check_choices(program):
    """Labels and seeds; a sample is the same however many there are."""
    few = ("--batch", "10", "--nfe", "1")
    program.make("turn.npz", "--count", "25", *few)
    images, labels = arrays(program.work / "turn.npz")
    check(np.array_equal(labels, np.arange(25) % 10), f"every class in turn: {labels}")
    program.make("fewer.npz", "--count", "12", *few)
    check(np.array_equal(arrays(program.work / "fewer.npz")[0], images[:12]), "samples depend on their number")
    program.make("seed.npz", "--count", "25", "--seed", "1", *few)
    check(not np.array_equal(arrays(program.work / "seed.npz")[0], images), "the seed does nothing")
    program.make("cold.npz", "--count", "25", "--temperature", "0", *few)
    cold = arrays(program.work / "cold.npz")[0]
    check(len({image.tobytes() for image in cold}) <= 10 and np.array_equal(cold[:15], cold[10:]), "noise of 0 is one sample a class")
    check(not np.array_equal(cold, images), "the temperature does nothing")
    told = program.make("warm.npz", "--count", "25", "--temperature", "1", *few)
    check("temperature" not in told and np.array_equal(arrays(program.work / "warm.npz")[0], images), f"temperature 1: {told}")
    program.make("data.npz", "--count", "30", "--labels", "data", *few)
    with open(program.run / "prepare/train/manifest.json") as file:
        counts = json.load(file)["summary"]["class_counts"]
    turns = (np.arange(30) + 0.5) * ((math.sqrt(5) - 1) / 2) % 1
    expected = np.searchsorted(np.cumsum(counts), turns * sum(counts), side="right")
    check(np.array_equal(arrays(program.work / "data.npz")[1], expected), "labels as often as in the data")


def check_ranks(program):
    words = ("--count", "47", "--batch", "10", "--solver", "heun", "--nfe", "3", "--guidance", "1.5")
    for output in ("ranks.npz", "ranks", "ranks.png"):
        program.make(output, *words)
    for ranks in (1, 2, 3):
        for output in ("ranks.npz", "ranks", "ranks.png"):
            told = program.make(f"{ranks}-{output}", *words, ranks=ranks)
            check(told.count("47 samples of nf-0") == 1, f"not told once: {told}")
            ours, theirs = program.work / output, program.work / f"{ranks}-{output}"
            pairs = zip(sorted(ours.iterdir()), sorted(theirs.iterdir()), strict=True) if ours.is_dir() else [(ours, theirs)]
            check(all(a.read_bytes() == b.read_bytes() for a, b in pairs), f"{output} differs on {ranks} ranks")
    noisy = ("--count", "47", "--batch", "10", "--solver", "corrector", "--nfe", "4")
    program.make("noisy.npz", *noisy)
    program.make("3-noisy.npz", *noisy, ranks=3)
    check((program.work / "noisy.npz").read_bytes() == (program.work / "3-noisy.npz").read_bytes(), "added noise differs on 3 ranks")
    refused = program.words("ranks.npz", *words)
    done = program.call(*refused, ranks=2)
    check(done.returncode == 2 and done.stderr.count("exists and is not overwritten") == 1, f"an output that exists, on two ranks: {done}")


def check_options(program):
    for parts, words in [
            (["--nfe", "dopri5 chooses its steps itself"], ("--solver", "dopri5", "--nfe", "4")),
            (["--grid", "dopri5"], ("--solver", "dopri5", "--grid", "uniform")),
            (["--times", "dopri5"], ("--solver", "dopri5", "--times", "0 1")),
            (["--atol", "euler takes no tolerance"], ("--atol", "0.1")),
            (["--rtol", "rk4 takes no tolerance"], ("--solver", "rk4", "--rtol", "0.1")),
            (["atol", "1e-14"], ("--solver", "dopri5", "--atol", "0")),
            (["heun cannot make exactly 4", "3 or 5"], ("--solver", "heun")),
            (["rk4 cannot make exactly 6", "4 or 8"], ("--solver", "rk4", "--nfe", "6")),
            (["corrector cannot make exactly 3", "2 or 4"], ("--solver", "corrector", "--nfe", "3")),
            (["--rtol", "sde takes no tolerance"], ("--solver", "sde", "--rtol", "0.1")),
            (["no solver 'ode'", "midpoint"], ("--solver", "ode")),
            (["no time grid 'cosine'"], ("--grid", "cosine")),
            (["--grid", "--times already says"], ("--times", "0 1", "--grid", "uniform")),
            (["--nfe", "--times already says"], ("--times", "0 1", "--nfe", "1")),
            (["ascend strictly from 0 to 1", "0.5"], ("--times", "0 0.5")),
            (["--times is empty"], ("--times", "")),
            (["--guidance-from", "needs --guidance"], ("--guidance-from", "0")),
            (["--guidance-to", "needs --guidance"], ("--guidance", "1", "--guidance-to", "0.5")),
            (["start below its end"], ("--guidance", "2", "--guidance-from", "0.5", "--guidance-to", "0.5")),
            (["evaluate.guidance", "nan"], ("--guidance", "nan")),
            (["--temperature 0.5", "sde", "adds noise"], ("--temperature", "0.5", "--solver", "sde")),
            (["evaluate.temperature", "-1"], ("--temperature", "-1")),
            (["--no-denoising", "nf-0 is a student"], ("--no-denoising",)),
            (["--solver", "without a solver"], ("--model", "teacher", "--solver", "euler")),
            (["--nfe", "without a solver"], ("--model", "teacher", "--nfe", "4")),
            (["--guidance-to", "no times to be guided at"], ("--model", "teacher", "--guidance", "1", "--guidance-to", "0.5")),
            (["--annealed", "needs --guidance"], ("--model", "teacher", "--annealed")),
            (["--temperature", "needs --guidance"], ("--model", "teacher", "--temperature", "2")),
            (["no trained model 'nf-7'", "there are teacher, nf-0"], ("--model", "nf-7")),
            (["student/independent-0 is not complete"], ("--model", "independent-0")),
            (["label 10", "classes 0 to 9"], ("--labels", "1 10")),
            (["--labels \"1 x\"", "or data"], ("--labels", "1 x")),
            (["--labels"], ("--labels", "")),
            (["--count 0"], ("--count", "0")),
            (["--seed -1"], ("--seed", "-1")),
            (["evaluate.precision", "bfloat16"], ("--precision", "half")),
            (["evaluate.slice-rows"], ("--batch", "0"))]:
        program.not_made(2, parts, "refused.npz", *words)
    uniform = program.work / "uniform"
    uniform.mkdir()
    for name in ("prepare", "teacher", "evaluate", "coupling"):
        (uniform / name).symlink_to(program.run / name)
    lines = (program.run / "config.ini").read_text().splitlines()
    section = lines.index("[teacher]")
    lines[section + 1:] = ["noise = uniform", *(line for line in lines[section + 1:] if not line.startswith("noise ="))]
    (uniform / "config.ini").write_text("\n".join(lines) + "\n")
    for students, parts in (("independent nf", ["student/independent-0 is not complete"]), ("", None)):
        other = program.work / f"first {students}"
        other.mkdir()
        for name in ("prepare", "teacher", "coupling", "student", "evaluate"):
            (other / name).symlink_to(program.run / name)
        text = (program.run / "config.ini").read_text()
        (other / "config.ini").write_text(text.replace("compare = nf independent\n", f"compare = {students}\n"))
        words = ("sample", "--run-dir", other, "--count", "2", "--output", program.work / f"{other.name}.npz")
        if parts:
            program.refuses(2, parts, *words)
        else:
            told = program.works(*words)
            check("2 samples of teacher" in told, f"without students the teacher: {told}")
    program.refuses(2, ["no denoising step to leave out"], "sample", "--run-dir", uniform, "--model", "teacher", "--no-denoising", "--output",
                    program.work / "refused.npz")


def check_places(program):
    words = ("--count", "10", "--nfe", "1")
    before = (program.work / "set.npz").read_bytes()
    for output in ("set.npz", "set.png", "set", "set/"):
        program.not_made(2, ["exists and is not overwritten", "--overwrite"], output, *words)
    check((program.work / "set.npz").read_bytes() == before, "what was there")
    program.make("set.npz", "--overwrite", *words)
    program.make("set", "--overwrite", *words)
    check(len(arrays(program.work / "set.npz")[0]) == 10 and len(list((program.work / "set").iterdir())) == 10, "--overwrite")
    (program.work / "set/notes.txt").write_text("mine")
    program.not_made(2, ["is no folder of samples", "notes.txt"], "set", "--overwrite", *words)
    check((program.work / "set/notes.txt").read_text() == "mine", "a user's file in a folder")
    (program.work / "set.v2.png").mkdir()
    (program.work / "file").write_text("mine")
    program.not_made(2, ["is a folder"], "set.v2.png", "--overwrite", *words)
    program.not_made(2, ["is a file"], "file", "--overwrite", *words)
    program.not_made(2, ["FILE.png, FILE.npz or a folder"], "set.jpg", *words)
    program.not_made(2, ["at most 10000 samples"], "many.png", "--count", "10001")
    for output in ("none/set.npz", "none/set.png", "none/set"):
        program.not_made(1, ["there is no directory", "create it first"], output, *words)
    for output in ("/proc/set.npz", "/proc/set.png", "/proc/set"):
        program.not_made(1, ["/proc"], output, *words)
    program.refuses(2, ["no config.ini"], "sample", "--run-dir", program.work / "set", "--output", program.work / "x.npz")
    program.make("set.v2/", *words)
    check(len(list((program.work / "set.v2").iterdir())) == 10, "a folder with a dot in its name")


def check_full_disk(program):
    """A limit on the size of files stands in for a full disk."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    before = sorted(program.work.rglob("*"))
    for output in ("full.npz", "full.png", "full"):
        words = [str(word) for word in (program.couplet, *program.words(output, "--count", "40", "--batch", "10", "--nfe", "1"))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=100, preexec_fn=limit)
        check(done.returncode == 1 and "File too large" in done.stderr and output in done.stderr, f"{output}, without space: {done}")
    check(sorted(program.work.rglob("*")) == before, "files came or went without space")


def check_not_finite(program, arguments):
    """Of a student whose embedding of class 3 is not a number, just those samples are; they are counted, and written."""
    run = arguments.work / "broken"
    shutil.copytree(program.run, run)
    weights = run / "student/nf-0/ema.safetensors"
    data = bytearray(weights.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8:8 + length])["y_embedder.embedding_table.weight"]
    width = 4 * table["shape"][1]
    start = 8 + length + table["data_offsets"][0] + 3 * width
    data[start:start + width] = struct.pack("<f", math.nan) * table["shape"][1]
    weights.write_bytes(data)
    program = Sampling(arguments, run)
    done = program.call(*program.words("broken.npz", "--count", "27", "--batch", "10", "--nfe", "1"))
    check(done.returncode == 1 and "3 of 27 samples held NaN or infinite values, the first of them sample 3;" in done.stderr, f"not finite: {done}")
    images, labels = arrays(arguments.work / "broken.npz")
    check((images[labels == 3] == 0).all() and all(image.std() > 5 for image in images[labels != 3]), "samples that are not finite, and others")
    program.make("whole.npz", "--count", "27", "--batch", "10", "--nfe", "1", "--labels", "0 1 2 4")


def interrupted(program, output, number):
    """Sends a signal while samples are written; what is there of them afterwards."""
    folder = program.work / "stopped"
    folder.mkdir(exist_ok=True)
    words = program.words(f"stopped/{output}", "--count", "1000000", "--batch", "10", "--nfe", "1")
    process = subprocess.Popen([program.couplet, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not any(entry.name.startswith(".partial") for entry in folder.iterdir()) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    return process.returncode, errors, sorted(entry.name for entry in folder.iterdir())


def check_stops(program):
    for output, number in (("x.npz", signal.SIGINT), ("x", signal.SIGTERM), ("x.png.npz", signal.SIGUSR1)):
        status, errors, names = interrupted(program, output, number)
        check(status == 1 and "stopped on request after" in errors and "nothing was written" in errors, f"{number}: {status} {errors}")
        check(names == [], f"left after {number}: {names}")
    status, _, names = interrupted(program, "x", signal.SIGKILL)
    check(status == -signal.SIGKILL and names and all(name.startswith(".partial-") for name in names), f"left after SIGKILL: {names}")
    program.make("stopped/x", "--count", "10", "--nfe", "1")
    check([entry.name for entry in (program.work / "stopped").iterdir()] == ["x"], "what a killed sampling left stays there")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    run = arguments.work / "run"
    program = Sampling(arguments, run)
    keys = [str(word) for key, value in TINY.items() for word in (f"--{key}", value)]
    for stage in STAGES:
        program.works("stage", stage, "--run-dir", run, "--config", arguments.config, *keys)
    check_evaluation(program, run)
    check_candidates(program, run)
    check_outputs(program)
    check_choices(program)
    check_ranks(program)
    check_options(program)
    check_places(program)
    check_full_disk(program)
    check_not_finite(program, arguments)
    check_stops(program)
    shutil.rmtree(arguments.work)
    print("passed")


if __name__ == "__main__":
    main()
