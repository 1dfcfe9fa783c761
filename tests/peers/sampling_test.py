#!/usr/bin/env python3
"""Exported models in their publishers' own code (checkouts under COUPLET_PEERS): loaded strictly, sampled from the same noise as ours."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peer_python

TOLERANCE = 1e-4
ROWS, NFE = 20, 8
# Enough training, at a high rate, that no map is near the identity it starts as.
TINY = {"prepare.train-rows": 200, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "teacher.images": 1600, "teacher.batch": 20, "teacher.learning-rate": 1e-2, "teacher.ema": 0.9,
        "couple.shard-rows": 150, "couple.block-rows": 50, "couple.slice-rows": 50,
        "student.images": 1600, "student.batch": 20, "student.learning-rate": 1e-2, "student.ema": 0.9,
        "student.window-blocks": 4, "student.compare": "nf", "pipeline.device": "cpu"}
RUNS = {"nvp": ("prepare", "teacher", "couple", "student/nf-0"), "vp": ("prepare", "teacher")}


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **more)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def make_run(arguments, variant):
    directory = arguments.work / variant
    keys = [str(word) for key, value in {**TINY, "teacher.variant": variant}.items() for word in (f"--{key}", value)]
    for stage in RUNS[variant]:
        run(arguments.couplet, "stage", stage, "--run-dir", directory, "--config", arguments.config, *keys)
    return directory


def check(arguments, directory, model, python, environment):
    weights, samples = directory / f"{model}.pt", directory / f"{model}.samples.safetensors"
    run(arguments.couplet, "export", "--run-dir", directory, "--model", model, "--output", weights)
    run(arguments.samples, directory, model, ROWS, NFE, samples)
    script = Path(__file__).parent / "peer_samples.py"
    figures = json.loads(run(python, script, arguments.peers, weights, samples, NFE, env=environment))
    print(f"{directory.name} {model}: largest difference of samples {figures['difference']:.2e}", flush=True)
    if not figures["finite"] or figures["moved"] < 0.1:
        fail(f"{model} is no model to compare: {figures}")
    if figures["difference"] > TOLERANCE:
        fail(f"{model}: samples differ by {figures['difference']}, allowed are {TOLERANCE}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--samples", required=True, help="the program model_samples")
    parser.add_argument("--config", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    arguments.peers = peer_python.checkout("ml-tarflow").parent
    peer_python.checkout("SiT")
    shutil.rmtree(arguments.work, ignore_errors=True)
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")
    nvp = make_run(arguments, "nvp")
    check(arguments, nvp, "teacher", python, environment)
    check(arguments, nvp, "nf-0", python, environment)
    check(arguments, make_run(arguments, "vp"), "teacher", python, environment)
    print("passed")


if __name__ == "__main__":
    main()
