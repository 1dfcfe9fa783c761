#!/usr/bin/env python3
"""Teacher and student trained by `train` and by PyTorch around the unmodified references (COUPLET_PEERS): same weights, batches and settings, in
float32. Losses agree to 1e-5 (relative) at step 10 and to 1e-3 at step 200."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peer_python

LIMITS = {10: 1e-5, 200: 1e-3}  # step: largest relative difference of its loss
STEPS = max(LIMITS)


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900, **more)
    if done.returncode != 0:
        print(f"FAILED: {' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        sys.exit(1)
    return done.stdout


def check(arguments, stage, peers, python, environment):
    directory = arguments.work / stage
    run(arguments.training, stage, STEPS, arguments.config, directory)
    ours = [json.loads(line)["loss"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    theirs = json.loads(run(python, Path(__file__).parent / "parity_peer.py", peers, directory, env=environment))
    if not len(ours) == len(theirs) == STEPS:
        print(f"FAILED: {stage}: {len(ours)} and {len(theirs)} losses, expected {STEPS}")
        sys.exit(1)
    passed = True
    for step, limit in LIMITS.items():
        differences = [abs(a - b) / abs(b) for a, b in zip(ours[:step], theirs[:step])]
        print(f"{stage}: step {step}: losses {ours[step - 1]:.7f} and {theirs[step - 1]:.7f}, relative difference "
              f"{differences[-1]:.1e} (allowed {limit:.0e}; largest so far {max(differences):.1e})", flush=True)
        passed = passed and differences[-1] <= limit
    if not ours[-1] < 0.8 * ours[0]:
        print(f"FAILED: {stage} did not learn: {ours[0]} to {ours[-1]}")
        sys.exit(1)
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--training", required=True, help="the program parity_training")
    parser.add_argument("--config", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the trainings; emptied first")
    arguments = parser.parse_args()
    peers = peer_python.checkout("ml-tarflow").parent
    peer_python.checkout("SiT")
    shutil.rmtree(arguments.work, ignore_errors=True)
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")
    if not all([check(arguments, stage, peers, python, environment) for stage in ("teacher", "student")]):
        print("FAILED")
        sys.exit(1)
    print("passed")


if __name__ == "__main__":
    main()
