#!/usr/bin/env python3
"""Evaluations of our dopri5 and of torchdiffeq's on the same 20 random fields (dopri5_peer.py), the same networks to the bit. COUPLET_PEERS holds the
checkouts SiT and guided-diffusion (without it, all fields are SiT's) and the package: pip install --no-deps --target $COUPLET_PEERS/python torchdiffeq==0.2.5"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peer_python

STEP = 6  # evaluations of a step
MEAN_TOLERANCE = 0.05


def fail(message):
    print(f"FAILED: {message}", flush=True)
    sys.exit(1)


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **more)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", required=True, help="the program dopri5_evaluations")
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the fields; emptied first")
    arguments = parser.parse_args()
    peers = peer_python.checkout("SiT").parent
    peer_python.checkout("python/torchdiffeq")
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")
    theirs = json.loads(run(python, Path(__file__).parent / "dopri5_peer.py", peers, arguments.work, env=environment))
    ours = [[int(word) for word in line.split()[1:]] for line in run(arguments.evaluations, arguments.work).splitlines()]
    if len(ours) != len(theirs):
        fail(f"{len(ours)} fields were solved of {len(theirs)}")
    print("field         torchdiffeq at 1e-3 1e-4 1e-5 1e-6        ours")
    for field, found in zip(theirs, ours):
        print(f"{field['name']:<16}{field['nfe']!s:<44}{found}")
        if any(abs(a - b) > STEP for a, b in zip(field["nfe"], found)):
            fail(f"{field['name']}: more than one step apart")
    sums = [sum(sum(counts) for counts in side) for side in ([field["nfe"] for field in theirs], ours)]
    print(f"evaluations in all: torchdiffeq {sums[0]}, ours {sums[1]}")
    if abs(sums[1] - sums[0]) > MEAN_TOLERANCE * sums[0]:
        fail("the means are too far apart")
    print("passed")


if __name__ == "__main__":
    main()
