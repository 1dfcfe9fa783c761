#!/usr/bin/env python3
"""Students trained by likelihood, and on images spread over their levels; likelihoods averaged over dequantisations, the same on one and two ranks.

The images are 6 x 6, so that the exact trace is cheap. Standard library only.
"""

import argparse
import json
import math
import random
import shutil
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import Program, check  # noqa: E402

SIDE = 6
KEYS = {"prepare.format": "idx", "prepare.name": "discs", "prepare.train-images": "train-images", "prepare.train-labels": "train-labels",
        "prepare.test-images": "test-images", "prepare.test-labels": "test-labels", "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "features.images": 200, "features.batch": 20, "features.channels": 2, "features.dimension": 4,
        "student.compare": "cnf flow", "student.cnf.coupling": "independent", "student.flow.coupling": "independent",
        "student.cnf.objective": "likelihood", "student.cnf.cnf-steps": 2, "student.flow.dequantise": "true",
        "student.channels": 8, "student.depth": 1, "student.heads": 2, "student.patch": 2, "student.ema": 0.5, "student.window-blocks": 2,
        "student.batch": 20, "student.images": 200, "student.learning-rate": 1e-2, "student.warmup": 1, "student.validate-rows": 20, "student.preview-every": 0,
        "evaluate.samples": 20, "evaluate.slice-rows": 20, "evaluate.euler-nfe": 2, "evaluate.heun-nfe": "", "evaluate.pairwise-images": 0,
        "evaluate.curvature-samples": 0, "evaluate.pairing-rows": 0, "evaluate.atol": 1e-3, "evaluate.rtol": 1e-3,
        "evaluate.likelihood-rows": 8, "evaluate.likelihood-probes": 0, "evaluate.likelihood-samples": 2, "pipeline.device": "cpu"}


def write_idx(path, sizes, values):
    path.write_bytes(struct.pack(f">BBBB{len(sizes)}I", 0, 0, 8, len(sizes), *sizes) + bytes(values))


def write_images(folder):
    """Discs of three sizes, blurred and noisy."""
    folder.mkdir(parents=True)
    draws = random.Random(1)
    for split, count in (("train", 200), ("test", 40)):
        pixels = []
        for image in range(count):
            x, y = draws.uniform(2, 3), draws.uniform(2, 3)
            for place in range(SIDE * SIDE):
                distance = math.hypot(place % SIDE - x, place // SIDE - y)
                pixels.append(round(min(255, max(0, 20 + 200 / (1 + math.exp(2 * (distance - 1 - image % 3))) + draws.gauss(0, 8)))))
        write_idx(folder / f"{split}-images", (count, SIDE, SIDE), pixels)
        write_idx(folder / f"{split}-labels", (count,), [image % 3 for image in range(count)])


def words(keys):
    return [word for key, value in keys.items() for word in (f"--{key}", value)]


def likelihoods(run):
    records = json.loads((run / "evaluate/results.json").read_text())["records"]
    return {record["student"]: record for record in records if record["metric"] == "bits_per_dim"}


def check_records(run):
    found = likelihoods(run)
    check(sorted(found) == ["cnf", "flow"], f"likelihoods of {sorted(found)}")
    for student, record in found.items():
        check(record["trace"] == "exact, 2 dequantisations" and record["dequantisations"] == 2, f"{student}: {record}")
        check(record["samples"] == 8 and record["slice_rows"] == 8 and record["standard_error"] > 0, f"{student}: {record}")
        check(record["made_with"]["dopri5"] and record["made_with"]["evaluate.likelihood-samples"] == "2", f"{student}: {record}")
        check(record["nfe_mean"] >= 8 and 0 < record["value"] < 14, f"{student}: {record}")
    return found


def check_training(run):
    """The loss is in nats a value: it falls, and is told of held-out images too."""
    lines = [json.loads(line) for line in (run / "student/cnf-0/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    check(losses[-1] < losses[0] - 0.02, f"the loss went from {losses[0]} to {losses[-1]}")
    bits = lines[-1]["test_loss"] / math.log(2) + math.log2(127.5)
    measured = likelihoods(run)["cnf"]
    check(abs(bits - measured["value"]) < 0.3, f"{bits} bits/dim in training, {measured['value']} measured")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    write_images(arguments.work / "images")
    keys = {"prepare.source": arguments.work / "images", **KEYS}
    program, one, two = Program(arguments.couplet), arguments.work / "one", arguments.work / "two"

    biased = {**keys, "evaluate.likelihood-probes": 1}
    program.refuses(2, ["evaluate.likelihood-samples = 2", "evaluate.likelihood-probes = 1", "likelihood-probes = 0"],
                    "run", "--run-dir", one, *words(biased))
    check(not one.exists(), "a run that was refused left something")

    program.works("run", "--run-dir", one, "--ranks", 1, *words(keys))
    ours = check_records(one)
    check_training(one)
    shutil.copytree(one, two)
    program.works("run", "--run-dir", two, "--ranks", 2, "--redo", "evaluate", *words(keys))
    theirs = check_records(two)
    check(ours == theirs, f"on two ranks: {theirs}\non one: {ours}")
    for student, record in ours.items():
        print(f"{student}: {record['value']:.3f} ± {record['standard_error']:.3f} bits/dim")

    # One draw is another figure: the mean over draws that it leaves behind is no longer shown.
    program.works("run", "--run-dir", one, "--ranks", 1, *words({**keys, "evaluate.likelihood-samples": 1}))
    for student, record in likelihoods(one).items():
        check(record["trace"] == "exact" and record["value"] != ours[student]["value"], f"{student}: {record}")
    print("passed")


if __name__ == "__main__":
    main()
