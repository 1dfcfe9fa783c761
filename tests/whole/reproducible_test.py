#!/usr/bin/env python3
"""pipeline.reproducible with the real models: features, teacher (vp, whose prior learns from the batch) and student end with the same bytes on
1, 2 and 4 ranks, with the optimizer's state shared or not, activations kept or computed again.

One thread a rank. Standard library only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import fail  # noqa: E402

STAGES = ("features", "teacher", "student")
FOLDERS = {"features": "features", "teacher": "teacher", "student": "student/nf-0"}
STEPS = 8
KEYS = f"""
--prepare.train-rows 480 --prepare.test-rows 96 --prepare.shard-rows 240 --prepare.block-rows 60
--features.images {96 * STEPS} --features.batch 96 --features.warmup 4
--teacher.images {96 * STEPS} --teacher.batch 96 --teacher.variant vp --teacher.warmup 4 --teacher.ema 0.9,0.5 --teacher.dropout 0.1 --teacher.clip-shift 2
--student.images {96 * STEPS} --student.batch 96 --student.compare nf --student.warmup 4 --student.ema 0.9,0.5
--couple.shard-rows 480 --couple.block-rows 60 --couple.slice-rows 60
--pipeline.reproducible true --pipeline.slices 4 --pipeline.checkpoint-every 3 --pipeline.threads 1
""".split()


class Runner:
    def __init__(self, arguments):
        self.arguments = arguments
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def command(self, directory, stage, ranks, keys):
        mpirun = [] if ranks == 1 else [self.arguments.mpiexec, "--oversubscribe", "-n", ranks]
        config = ["--config", self.arguments.config, "--run-dir", directory]
        return [str(word) for word in (*mpirun, self.arguments.couplet, "stage", stage, *config, *KEYS, *keys)]

    def run(self, directory, stage, ranks=1, keys=()):
        command = self.command(directory, stage, ranks, keys)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment)
        if done.returncode != 0:
            fail(f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def metrics(directory, stage):
    return [json.loads(line) for line in (directory / FOLDERS[stage] / "metrics.jsonl").read_text().splitlines()]


def weights(directory, stage):
    files = sorted((directory / FOLDERS[stage]).glob("*.safetensors"))
    if not files:
        fail(f"{directory}/{stage}: no weights")
    return {path.name: path.read_bytes() for path in files}


def compare(one, other, ranks, stage, what):
    ours, theirs = weights(one, stage), weights(other, stage)
    if ours.keys() != theirs.keys():
        fail(f"{stage}: other files {what}: {sorted(ours.keys() ^ theirs.keys())}")
    different = [name for name in ours if ours[name] != theirs[name]]
    if different:
        fail(f"{stage}: {different} differ {what}")
    for a, b in zip(metrics(one, stage), metrics(other, stage), strict=True):
        if (a["digest"], a["loss"], a["grad_norm"]) != (b["digest"], b["loss"], b["grad_norm"]):
            fail(f"{stage}: step {a['step']} differs {what}: {a} {b}")
        if (a["rows"], b["rows"]) != (96, 96 // ranks):
            fail(f"{stage}: rank 0 computed {b['rows']} rows of 96 on {ranks} ranks")
    print(f"{stage}: {len(ours)} files byte-equal {what}", flush=True)


def anew(base, directory):
    """A copy of the first run without what is trained."""
    shutil.copytree(base, directory)
    for stage in STAGES:
        shutil.rmtree(directory / FOLDERS[stage])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    runner = Runner(arguments)

    base = arguments.work / "base"
    for stage in ("prepare", "features", "teacher", "couple", "student"):
        runner.run(base, stage)
    again = [f"--{stage}.checkpoint-activations" for stage in STAGES]
    for ranks, what, keys in (
        (2, "on 2 ranks with a shared optimizer", ["--pipeline.shard-optimizer", "true"]),
        (4, "on 4 ranks", []),
        (1, "with activations computed again", [word for flag in again for word in (flag, "true")]),
    ):
        directory = arguments.work / what.replace(" ", "-")
        anew(base, directory)
        for stage in STAGES:
            runner.run(directory, stage, ranks, keys)
            compare(base, directory, ranks, stage, what)
    print("passed")


if __name__ == "__main__":
    main()
