#!/usr/bin/env python3
"""Runs whose students are trained on tables of a student's flow, and on tables from elsewhere."""

import argparse
import json
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

REFLOW = {"student.compare": "independent reflow second one", "student.reflow.reflow-of": "independent",
          "student.reflow.init-from": "independent", "student.second.coupling": "reflow", "student.second.reflow-of": "reflow",
          "student.one.coupling": "reflow", "student.one.reflow-of": "independent", "student.one.times": 1,
          "couple.reflow-independent.solver": "heun", "couple.reflow-independent.nfe": 9}


def shards(table):
    return {path.name: path.read_bytes() for path in sorted(Path(table).glob("*.h5"))}


def column(table, name):
    return numpy.concatenate([h5py.File(path)[name][:] for path in sorted(Path(table).glob("*.h5"))])


def students_of_flows(couplet, work):
    run = Run(couplet, work / "reflow")
    run.works("run", *keys(TINY | REFLOW))
    run.complete()
    made = set(run.attempts())
    check("teacher" not in made, "a run of independent and reflow trains no teacher")
    check({"coupling/reflow-independent", "coupling/reflow-reflow", "student/second-0", "student/one-0"} <= made, f"made: {made}")
    table = run.directory / "coupling" / "reflow-independent" / "train"
    noise, image = column(table, "noise").astype(float), column(table, "image").astype(float)
    check(noise.shape == (600, 1, 28, 28) and abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01, "the noise of a reflow is standard normal")
    check(image.dtype.kind == "f" and numpy.unique(image).size > 1000, "images of a reflow are not rounded to grey values")
    subprocess.run([couplet, "verify", str(table)], check=True, capture_output=True, timeout=300)
    found = subprocess.run([couplet, "inspect", str(table), "--json"], check=True, capture_output=True, timeout=300).stdout
    cost = json.loads(found)["quality"]["transport_cost"]["squared"]
    expected = ((noise / noise.std() - image)**2).reshape(len(image), -1).sum(1).mean()
    check(abs(cost - expected) < 1e-3 * expected, f"inspect judges other pairs than the table's: {cost}, expected {expected}")
    summary = json.loads((table / "manifest.json").read_text())["summary"]
    check(summary["evaluations"] == 9, f"evaluations a row: {summary}")
    return run


def table_again(run, launcher):
    """The command that makes the table of the run's first reflow anew, and nothing else."""
    shutil.rmtree(run.directory / "coupling" / "reflow-independent")
    return [*launcher, run.couplet, "stage", "coupling/reflow-independent", "--run-dir", str(run.directory)]


def same_on_ranks_and_after_kills(couplet, mpiexec, work, finished):
    run = Run(couplet, work / "again")
    shutil.copytree(finished.directory, run.directory)

    def same(what):
        for split in ("train", "test"):
            table = Path("coupling") / "reflow-independent" / split
            check(shards(run.directory / table) == shards(finished.directory / table), f"{split} differs {what}")

    ranks = [mpiexec, "--oversubscribe", "-n", "3"]
    subprocess.run(table_again(run, ranks), check=True, capture_output=True, timeout=SECONDS)
    same("between 1 and 3 ranks")
    chosen = random.Random(1)
    words = table_again(run, [])
    for _ in range(3):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chosen.uniform(1, 3))
        process.kill()
        process.wait()
    subprocess.run(words, check=True, capture_output=True, timeout=SECONDS)
    same("after kills")


def couplings_that_transport(couplet, work):
    """ot, loom and sd train side by side; what they leave can be looked at; another number of ranks draws the same pairs."""
    transport = {"student.compare": "ot loom sd", "student.images": 120, "student.ot-within": "class", "student.ot-steps": 2,
                 "student.loom-slots": 2, "couple.sd-steps": 40, "couple.sd-batch": 128, "couple.sd-dims": 16, "couple.sd-check-every": 20}
    run = Run(couplet, work / "transport")
    run.works("run", *keys(TINY | transport | {"pipeline.ranks": 2}))
    run.complete()
    for table in ("coupling/sd/train", "student/loom-0/seeds"):
        for command in ("verify", "inspect"):
            subprocess.run([couplet, command, str(run.directory / table)], check=True, capture_output=True, timeout=SECONDS)
    for student in ("ot-0", "loom-0"):
        output = subprocess.run([couplet, "inspect", str(run.directory / "student" / student)], check=True, capture_output=True, text=True,
                                timeout=SECONDS).stdout
        kept = json.loads((run.directory / "student" / student / "coupling.json").read_text())
        check(f"{kept['transport_cost']['squared']:.4g}" in output and f"coupling        {student[:-2]}" in output, output)
    ids = column(run.directory / "student" / "loom-0" / "seeds", "noise_id")
    check(sorted(ids) == list(range(300 * 2 * 2)), "loom's noises are no permutation")
    others = Run(couplet, work / "transport-ranks")
    others.works("run", *keys(TINY | transport | {"pipeline.ranks": 1}))

    def digests(of, student):
        lines = (of.directory / "student" / f"{student}-0" / "metrics.jsonl").read_text().splitlines()
        return [line["digest"] for line in map(json.loads, lines) if "digest" in line]

    for student in ("ot", "loom", "sd"):
        check(len(digests(run, student)) == 5 and digests(run, student) == digests(others, student), f"pairs of {student} differ")
    for table in ("coupling/sd/train", "student/loom-0/seeds"):
        check(shards(run.directory / table) == shards(others.directory / table), f"{table} differs between 1 and 2 ranks")


def tables_from_elsewhere(couplet, work, finished):
    images = finished.directory / "prepare" / "train"
    generator = numpy.random.default_rng(0)
    source = work / "pairs.npz"
    image, label = column(images, "image"), column(images, "label")
    numpy.savez(source, noise=generator.standard_normal(image.shape).astype("float32"), image=image, label=label)
    table = work / "pairs"
    subprocess.run([couplet, "import", str(source), "--output", str(table), "--shard-rows", "100", "--block-rows", "10"], check=True,
                   capture_output=True, timeout=300)
    mine = {"student.compare": "mine independent", "student.mine.coupling": "imported", "couple.mine.source": table}
    run = Run(couplet, work / "imported")
    run.works("run", *keys(TINY | mine))
    run.complete()
    check(not (run.directory / "coupling" / "mine" / "train").exists(), "an adopted table is not copied")
    before = run.attempts()
    moved = table.rename(work / "moved")
    run.works("run", *keys(TINY | mine | {"couple.mine.source": moved}))
    check({name: count for name, (count, _) in run.attempts().items()} == {name: count for name, (count, _) in before.items()},
          "a table that moved is the same")
    # A table of another run, with held-out rows, of the same data set; and one of another data set.
    adopted = {"student.compare": "theirs", "student.theirs.coupling": "imported",
               "couple.theirs.source": finished.directory / "coupling" / "reflow-independent"}
    other = Run(couplet, work / "adopted")
    other.works("run", *keys(TINY | adopted))
    other.complete()
    refused(couplet, work / "refused-data", TINY | adopted | {"prepare.train-rows": 200}, ["was made of the data set"])
    # Shapes, labels and what is no table.
    for name, arrays, parts in [
            ("shape", {"noise": generator.standard_normal((40, 1, 8, 8)).astype("float32"), "image": image[:40, :, :8, :8]}, ["[1, 8, 8]", "[1, 28, 28]"]),
            ("label", {"noise": generator.standard_normal(image[:40].shape).astype("float32"), "image": image[:40],
                       "label": numpy.full(40, 77)}, ["label 77", "classes 0 to 9"])]:
        numpy.savez(work / f"{name}.npz", **arrays)
        subprocess.run([couplet, "import", str(work / f"{name}.npz"), "--output", str(work / name), "--block-rows", "10", "--shard-rows", "20"],
                       check=True, capture_output=True, timeout=300)
        refused(couplet, work / f"refused-{name}", TINY | mine | {"couple.mine.source": work / name}, parts)
    refused(couplet, work / "refused-none", TINY | mine | {"couple.mine.source": work}, ["there is no coupling table"])


def refused(couplet, directory, settings, parts):
    done = Run(couplet, directory).call("run", *keys(settings))
    text = done.stdout + done.stderr
    check(done.returncode not in (0, 139) and all(part in text for part in parts), f"status {done.returncode}: {text[-1500:]}")
    check("terminate" not in text and "Traceback" not in text, text[-1500:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    couplings_that_transport(arguments.couplet, arguments.work)
    finished = students_of_flows(arguments.couplet, arguments.work)
    tables_from_elsewhere(arguments.couplet, arguments.work, finished)
    same_on_ranks_and_after_kills(arguments.couplet, arguments.mpiexec, arguments.work, finished)


if __name__ == "__main__":
    main()
