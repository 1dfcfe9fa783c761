#!/usr/bin/env python3
"""Our U-Net against guided-diffusion's own of other sizes than the reference data's, with other weights: the tests of models_reference, on files that
unet_reference.py makes. COUPLET_PEERS holds the checkout guided-diffusion."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import peer_python

SEEDS = (11, 12)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", required=True, help="the program test_models_reference")
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the files; emptied first")
    arguments = parser.parse_args()
    peers = peer_python.checkout("guided-diffusion").parent
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work.parent / "peer_python")
    for seed in SEEDS:
        shutil.rmtree(arguments.work, ignore_errors=True)
        arguments.work.mkdir(parents=True)
        subprocess.run([python, Path(__file__).parent / "unet_reference.py", peers, arguments.work, str(seed)], env=environment, check=True, timeout=300)
        tests = dict(os.environ, COUPLET_REFERENCE=str(arguments.work), MKL_CBWR="COMPATIBLE", ATEN_CPU_CAPABILITY="avx2")
        done = subprocess.run([arguments.tests, "--gtest_filter=UNetReference*"], env=tests, timeout=300, capture_output=True, text=True)
        print(done.stdout[-4000:], flush=True)
        if done.returncode != 0:
            sys.exit(f"FAILED: networks drawn by seed {seed} differ")
    print("passed")


if __name__ == "__main__":
    main()
