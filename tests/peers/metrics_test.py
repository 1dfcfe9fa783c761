#!/usr/bin/env python3
"""`couplet score` against torch-fidelity and prdc on the same features. COUPLET_PEERS/python holds them:
pip install --no-deps --target $COUPLET_PEERS/python torch-fidelity prdc 'scikit-learn<1.6' 'joblib<1.5' threadpoolctl tqdm"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peer_python

# torch-fidelity's precision and recall are means in float32.
TOLERANCE = 1e-6


def run(command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **more)
    if done.returncode != 0:
        print(f"FAILED: {command}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        sys.exit(1)
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the files; emptied first")
    arguments = parser.parse_args()
    packages, folder = peer_python.checkout("python"), arguments.work
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    python, environment = peer_python.find(arguments.torch, arguments.compiler, folder / "cuda")
    peer = (python, Path(__file__).parent / "metrics_peer.py", packages)
    run([*peer, "make", folder], env=environment)
    theirs = json.loads(run([*peer, "score", folder], env=environment))
    scores = json.loads(run([arguments.couplet, "score", "--samples", folder / "samples.npz", "--reference", folder / "reference.npz",
                             "--network", folder / "network.pt", "--json"]))["scores"]
    ours = {score["metric"]: score["value"] for score in scores}
    for score in scores:
        ours.update({field: score[field] for field in ("subset_mean", "subset_sd", "split_sd") if field in score})
    failed = False
    for name, value in theirs.items():
        difference = abs(ours[name] - value) / abs(value)
        print(f"{name}: ours {ours[name]:.9g}, theirs {value:.9g}, relative difference {difference:.1e}", flush=True)
        failed |= not difference < TOLERANCE or name in ("precision", "recall", "coverage") and not 0.01 < value < 1
    print("FAILED: differ, or show nothing" if failed else "passed")
    sys.exit(failed)


if __name__ == "__main__":
    main()
