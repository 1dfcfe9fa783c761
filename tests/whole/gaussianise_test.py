#!/usr/bin/env python3
"""Students of mapped noise: what their tables hold, against numpy; the same bytes on other ranks and after kills; and what maps close of a known gap to
N(0, I), of a table from elsewhere.
"""

import argparse
import json
import math
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "whole")]
from lifecycle_test import SECONDS, TINY, Run, keys  # noqa: E402
from program import check  # noqa: E402

FLOW = {"gaussianiser.images": 240, "gaussianiser.batch": 24, "gaussianiser.channels": 16, "gaussianiser.head-size": 8, "gaussianiser.layers": 1,
        "gaussianiser.validate-every": 5}
MAPPED = {"student.compare": "nf affine both flow", "student.affine.coupling": "nf", "student.affine.gaussianise": "affine",
          "student.both.coupling": "nf", "student.both.gaussianise": "affine rotations", "student.flow.coupling": "nf",
          "student.flow.gaussianise": "flow"}
TABLES = ("nf-affine", "nf-affine-rotations", "nf-flow")


def shards(table):
    return {path.name: path.read_bytes() for path in sorted(Path(table).glob("*.h5"))}


def column(table, name):
    return numpy.concatenate([h5py.File(path)[name][:] for path in sorted(Path(table).glob("*.h5"))])


def manifest(table):
    return json.loads((Path(table) / "manifest.json").read_text())


def tensors(path):
    """The float64 tensors of a safetensors file."""
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    return {name: numpy.frombuffer(data, "<f8", math.prod(one["shape"]), 8 + size + one["data_offsets"][0]).reshape(one["shape"])
            for name, one in header.items() if name != "__metadata__"}


def works(*words):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=SECONDS)
    check(done.returncode == 0, f"{words}: {done.stdout[-1500:]} {done.stderr[-1500:]}")
    return done.stdout


def rows_are_mapped(couplet, work):
    """Every table against the one before, row by row."""
    run = Run(couplet, work / "run")
    run.works("run", *keys(TINY | FLOW | {"student.compare": "nf", "couple.noise-type": "float32"}))
    coupling = run.directory / "coupling"
    before = {split: shards(coupling / "nf" / split) for split in ("train", "test")}
    run.works("run", *keys(TINY | FLOW | MAPPED | {"couple.noise-type": "float32"}))
    run.complete()
    for split in ("train", "test"):
        check(shards(coupling / "nf" / split) == before[split], f"nf/{split} is not what it was")
        for name in TABLES:
            table, base = coupling / name / split, coupling / name.rsplit("-", 1)[0] / split
            for copied in ("image", "label", "sample", "flip", "replicate"):
                check((column(table, copied) == column(base, copied)).all(), f"{table}: {copied} differs")
            works(couplet, "verify", table)
            works(couplet, "inspect", table)
            gained = column(base, "nll").astype(float) - column(table, "nll")
            values = math.prod(column(table, "noise").shape[1:])
            # What dividing by sigma_f gains is no gain of the map.
            noise, sigma = column(base, "noise").astype(float), manifest(coupling / name.rsplit("-", 1)[0] / "train")["summary"]["sigma_f"]
            divided = (1 - 1 / sigma**2) * (noise**2).sum((1, 2, 3)) / 2 - values * math.log(sigma)
            summary, nats = manifest(table)["summary"], values * gained - divided
            check(abs(summary["nats_closed"] - nats.mean()) < 1e-3, f"{table}: {summary}, and {nats.mean()} by its columns")
            check(abs(summary["nats_closed_standard_error"] - nats.std() / math.sqrt(len(nats))) < 1e-3, f"{table}: {summary}")
        # What the affine map is, by its own file.
        learnt = tensors(coupling / "nf-affine" / "map.safetensors")
        sigma = manifest(coupling / "nf" / "train")["summary"]["sigma_f"]
        f, label = column(coupling / "nf" / split, "noise").astype(float), column(coupling / "nf" / split, "label")
        mapped = (f / sigma - learnt["mean"][label]) / learnt["deviation"][label]
        check(numpy.allclose(column(coupling / "nf-affine" / split, "noise"), mapped, 1e-6, 1e-5), f"{split}: affine maps to something else")
        axes, values = (1, 2, 3), mapped[0].size
        expected = column(coupling / "nf" / split, "nll") + ((mapped**2 - f**2).sum(axes) / 2 + numpy.log(learnt["deviation"][label]).sum(axes)) / values \
            + math.log(sigma)
        check(numpy.allclose(column(coupling / "nf-affine" / split, "nll"), expected, 1e-5, 1e-4), f"{split}: nll is of something else")
    check(manifest(coupling / "nf-affine" / "train")["summary"]["nats_closed"] > 0, "affine closes nothing of the rows it was fitted to")
    distances = [record for record in json.loads((run.directory / "evaluate" / "results.json").read_text())["records"]
                 if record["metric"] == "teacher_distance"]
    check({record["student"] for record in distances} == {"nf"}, "the teacher is compared with students of mapped noise")
    return run


def same_on_ranks_and_after_kills(mpiexec, work, finished):
    run = Run(finished.couplet, work / "again")
    shutil.copytree(finished.directory, run.directory)
    chosen = random.Random(1)
    for name in TABLES:
        words = [run.couplet, "stage", f"coupling/{name}", "--run-dir", str(run.directory)]
        for launcher, kills in (([mpiexec, "--oversubscribe", "-n", "2"], 0), ([], 3)):
            shutil.rmtree(run.directory / "coupling" / name)
            for _ in range(kills):
                process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(chosen.uniform(0.3, 2))
                process.kill()
                process.wait()
            works(*launcher, *words)
            for split in ("train", "test"):
                table = Path("coupling") / name / split
                check(shards(run.directory / table) == shards(finished.directory / table), f"{table} differs on {launcher or 'after kills'}")
    # A training that is killed goes on.
    shutil.rmtree(run.directory / "gaussianiser" / "nf")
    words = [run.couplet, "stage", "gaussianiser/nf", "--run-dir", str(run.directory)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)
    process.kill()
    process.wait()
    works(*words)
    again, first = (of.directory / "gaussianiser" / "nf" / "weights.safetensors" for of in (run, finished))
    check(again.read_bytes() == first.read_bytes(), "the second flow is another after a kill")


def mean_of(h):
    """Of h(g), g ~ N(0, 1)."""
    g = numpy.linspace(-9, 9, 20001)
    return (numpy.exp(-g * g / 2) / math.sqrt(2 * math.pi) * h(g)).sum() * (g[1] - g[0])


def known_gaps(couplet, work):
    """Noise of 4 x 4 values in two classes that each map can make normal, and the nats it is from that."""
    generator = numpy.random.default_rng(1)
    counts = {"train": 20000, "test": 5000}
    label = {split: numpy.arange(count) % 2 for split, count in counts.items()}
    images = {split: generator.integers(0, 256, (count, 4, 4)).astype("uint8") for split, count in counts.items()}
    numpy.savez(work / "images.npz", x_train=images["train"], y_train=label["train"], x_test=images["test"], y_test=label["test"])
    mean, deviation = numpy.linspace(-0.5, 0.6, 32).reshape(2, 16), numpy.linspace(1.2, 0.8, 32).reshape(2, 16)

    def of_classes(g, label):
        return g * deviation[label] + mean[label]

    def with_tails(g, label):
        return 0.8 * numpy.sinh(1.15 * numpy.arcsinh(g) + 0.3)

    def leaning(g, label):
        """The right half leans on the left; the class moves all."""
        z = g.reshape(-1, 4, 4).copy()
        z[:, :, 2:] += 0.9 * z[:, :, :2]
        return z.reshape(-1, 16) + (0.4 * (2 * label - 1))[:, None]

    inner, slope = lambda g: 1.15 * numpy.arcsinh(g) + 0.3, lambda g: 0.8 * numpy.cosh(1.15 * numpy.arcsinh(g) + 0.3) * 1.15 / numpy.sqrt(1 + g * g)
    gaps = {"affine": (of_classes, (mean**2 + deviation**2 - 1 - 2 * numpy.log(deviation)).sum(1).mean() / 2),
            "rotations": (with_tails, 16 * mean_of(lambda g: ((0.8 * numpy.sinh(inner(g)))**2 - g * g) / 2 - numpy.log(slope(g)))),
            "flow": (leaning, (8 * 0.9**2 + 16 * 0.4**2) / 2)}
    run = Run(couplet, work / "known")
    settings = {"prepare.source": work / "images.npz", "prepare.format": "auto", "student.compare": " ".join(gaps), "student.patch": 2,
                "gaussianiser.patch": 2, "gaussianiser.channels": 32, "gaussianiser.head-size": 16, "gaussianiser.layers": 1, "gaussianiser.blocks": 2,
                "gaussianiser.images": 120000, "gaussianiser.batch": 200, "gaussianiser.learning-rate": 3e-3, "gaussianiser.warmup": 20,
                "gaussianiser.ema": 0.99, "gaussianiser.validate-every": 100, "pipeline.device": "cpu", "pipeline.threads": 1, "pipeline.ranks": 1,
                "couple.noise-type": "float32"}
    for name, (warp, _) in gaps.items():
        (work / name).mkdir()
        for split, count in counts.items():
            noise = warp(generator.standard_normal((count, 16)), label[split]).reshape(-1, 1, 4, 4)
            numpy.savez(work / "pairs.npz", noise=noise.astype("float32"), image=images[split][:, None], label=label[split])
            works(couplet, "import", work / "pairs.npz", "--output", work / name / split)
        settings |= {f"student.{name}.coupling": "imported", f"student.{name}.gaussianise": name, f"couple.{name}.source": work / name}
    for stage in ("prepare", *(f"coupling/{name}" for name in gaps), "gaussianiser/flow", *(f"coupling/{name}-{name}" for name in gaps)):
        run.works("stage", stage, *keys(settings))
    for name, (_, gap) in gaps.items():
        summary = manifest(run.directory / "coupling" / f"{name}-{name}" / "test")["summary"]
        # Noise is divided by sigma_f first, which closes a part of the gap itself.
        sigma = manifest(work / name / "train")["summary"]["sigma_f"]
        expected = gap - 16 * ((sigma**2 - 1) / 2 - math.log(sigma))
        error = summary["nats_closed_standard_error"]
        check(abs(summary["nats_closed"] - expected) < 3 * error, f"{name}: closes {summary['nats_closed']} ± {error} of {expected}")
        check(expected > 10 * error, f"{name}: a gap of {expected} ± {error} says nothing")


def refusals(couplet, work):
    for name, settings, parts in [
            ("independent", {"student.compare": "independent", "student.gaussianise": "affine"}, ["gaussianise = affine", "independent"]),
            ("sd", {"student.compare": "sd", "student.sd.gaussianise": "rotations"}, ["student.sd.gaussianise = rotations", "sd"]),
            ("unknown", {"student.compare": "nf", "student.gaussianise": "afine"}, ["afine", "affine"]),
            ("patch", {"student.compare": "nf", "student.gaussianise": "flow", "gaussianiser.patch": 5}, ["gaussianiser.patch = 5", "28x28"])]:
        done = Run(couplet, work / f"refused-{name}").call("run", *keys(TINY | settings))
        text = done.stdout + done.stderr
        check(done.returncode not in (0, 139) and all(part in text for part in parts), f"{name}: status {done.returncode}: {text[-1500:]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    refusals(arguments.couplet, arguments.work)
    known_gaps(arguments.couplet, arguments.work)
    finished = rows_are_mapped(arguments.couplet, arguments.work)
    same_on_ranks_and_after_kills(arguments.mpiexec, arguments.work, finished)


if __name__ == "__main__":
    main()
