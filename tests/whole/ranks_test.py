#!/usr/bin/env python3
"""One, two and three ranks: equal draws in training, equal shards and equal scores from equal weights.

A first run is made on one rank. For the other counts, training stages are run anew in a run directory of their own and the digests of the tensors handed to the
model compared; tables and scores are made anew from the first run's own weights (a copy of its directory) and compared byte for byte, at one thread a rank and
at two on one rank.
Standard library only.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import fail  # noqa: E402

# Students of coupling nf are compared apart: their noise comes from a teacher, equal on other counts of ranks to float tolerance only.
TRAINED = ("features", "teacher", "student/independent-0")
TRAINED_FROM_TABLE = ("student/nf-0",)
# A part of the smoke preset: two shards, slices that three ranks share unevenly, and steps enough for rounding to grow.
SIZES = {"--prepare.train-rows": 2000, "--prepare.test-rows": 500, "--features.images": 2400, "--teacher.images": 2400,
         "--student.images": 2400, "--evaluate.samples": 250, "--evaluate.slice-rows": 50, "--evaluate.pairwise-images": 200}
# Where training and tables are compared, scores are made of a few samples.
FEW_SCORES = ("--evaluate.samples", "100", "--evaluate.euler-nfe", "1", "--evaluate.heun-nfe", "3", "--evaluate.pairwise-images", "0",
              "--evaluate.curvature-samples", "0", "--evaluate.pairing-rows", "0")


class Runner:
    def __init__(self, arguments):
        self.couplet, self.config = arguments.couplet, arguments.config
        self.keys = arguments.key

    def run(self, directory, ranks, *more, threads=1):
        command = [self.couplet, "run", "--config", self.config, "--run-dir", directory, "--ranks", str(ranks)]
        sizes = [word for key, value in SIZES.items() if key not in (*self.keys, *more) for word in (key, value)]
        command += ["--pipeline.threads", str(threads), *sizes, *self.keys, *more]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            fail(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def metrics(directory, stage):
    lines = [json.loads(line) for line in (directory / stage / "metrics.jsonl").read_text().splitlines()]
    if not lines:
        fail(f"{directory / stage}: no metrics")
    return lines


def compare_training(one, other, ranks, stages):
    for stage in stages:
        ours, theirs = metrics(one, stage), metrics(other, stage)
        if [line["step"] for line in ours] != [line["step"] for line in theirs]:
            fail(f"{stage}: other steps on {ranks} ranks than on 1")
        for a, b in zip(ours, theirs):
            if a["digest"] != b["digest"]:
                fail(f"{stage}, step {a['step']}: digest {a['digest']} on 1 rank, {b['digest']} on {ranks}")
        # Rounding grows over the steps: the first ones must agree closely.
        for a, b in zip(ours[:5], theirs[:5]):
            if not math.isclose(a["loss"], b["loss"], rel_tol=1e-4, abs_tol=1e-4):
                fail(f"{stage}, step {a['step']}: loss {a['loss']} on 1 rank, {b['loss']} on {ranks}")
        print(f"{stage}: {len(ours)} steps with equal draws on 1 and {ranks} ranks")


def files_of(directory, pattern):
    found = sorted(path.relative_to(directory) for path in directory.rglob(pattern))
    if not found:
        fail(f"{directory}: no files {pattern}")
    return found


def compare_files(one, other, pattern, ranks):
    names = files_of(one, pattern)
    if names != files_of(other, pattern):
        fail(f"{one} and {other} hold other files {pattern}")
    for name in names:
        if (one / name).read_bytes() != (other / name).read_bytes():
            fail(f"{name} in {one.name} differs on 1 and on {ranks} ranks")
    print(f"{one.name}: {len(names)} files {pattern} byte-equal on 1 and {ranks} ranks")


def records_of(directory):
    return json.loads((directory / "evaluate/results.json").read_text())["records"]


def pictures_in(json):
    """Everything with a path, however deep."""
    if isinstance(json, list):
        return [path for item in json for path in pictures_in(item)]
    if not isinstance(json, dict):
        return []
    own = [json["path"]] if "path" in json else []
    return own + [path for item in json.values() for path in pictures_in(item)]


def check_report(run):
    """The page's data is published beside it, with pictures by path."""
    folder = run / "report"
    found = json.loads((folder / "report.json").read_text())
    pictures = pictures_in(found)
    missing = [path for path in pictures if not (folder / path).is_file()]
    if missing or not any(path.startswith("../evaluate/pictures/") for path in pictures) or not any(path.startswith("coupling-nf-") for path in pictures):
        fail(f"{folder / 'report.json'}: pictures {pictures}, of which there are not {missing}")
    if found["records"]["count"] != len([record for record in records_of(run) if record["value"] is not None]):
        fail(f"{folder / 'report.json'}: {found['records']['count']} records, results.json has {len(records_of(run))}")
    if not (folder / "report.html").read_text().startswith("<!DOCTYPE html>"):
        fail(f"{folder / 'report.html'}: no page")


def compare_threads(one, other, threads):
    """Sums in float64 may end in other digits, samples and counts of them not."""
    ours, theirs = records_of(one), records_of(other)
    if [record.keys() for record in ours] != [record.keys() for record in theirs]:
        fail(f"other records with {threads} threads than with 1")
    for a, b in zip(ours, theirs):
        for key, value in a.items():
            equal = math.isclose(value, b[key], rel_tol=1e-10) if isinstance(value, float) else value == b[key]
            if not equal:
                fail(f"{a['metric']} of {a['model']}: {key} is {value} with 1 thread, {b[key]} with {threads}")
    compare_files(one / "evaluate/pictures", other / "evaluate/pictures", "*.png", 1)
    print(f"{len(ours)} scores with the same digits for 1 and {threads} threads")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--key", nargs="*", default=[], help="further keys of the configuration")
    arguments = parser.parse_args()
    runner = Runner(arguments)
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    one = arguments.work / "one"
    runner.run(one, 1)
    check_report(one)

    def compare(ranks):
        trained = arguments.work / f"trained-on-{ranks}"
        runner.run(trained, ranks, *FEW_SCORES, "--student.nf.images", "480")
        compare_training(one, trained, ranks, TRAINED)

        # Equal weights from here on: the table and, with the students kept, the scores.
        table = arguments.work / f"table-on-{ranks}"
        shutil.copytree(one, table)
        runner.run(table, ranks, "--redo", "couple", *FEW_SCORES)
        compare_files(one / "coupling", table / "coupling", "*.h5", ranks)
        compare_training(one, table, ranks, TRAINED_FROM_TABLE)
        scores = arguments.work / f"scores-on-{ranks}"
        shutil.copytree(one, scores)
        runner.run(scores, ranks, "--redo", "evaluate")
        ours, theirs = records_of(one), records_of(scores)
        if not ours or ours != theirs:
            fail(f"scores on {ranks} ranks differ from those on 1:\n{[(a, b) for a, b in zip(ours, theirs) if a != b][:2]}")
        print(f"{len(ours)} scores with the same digits on 1 and {ranks} ranks")
        compare_files(one / "evaluate/pictures", scores / "evaluate/pictures", "*.png", ranks)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compare, arguments.ranks))
    threads = arguments.work / "two-threads"
    shutil.copytree(one, threads)
    runner.run(threads, 1, "--redo", "evaluate", threads=2)
    compare_threads(one, threads, 2)
    print("passed")


if __name__ == "__main__":
    main()
