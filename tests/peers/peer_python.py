#!/usr/bin/env python3
"""A python3 that imports torch: COUPLET_PYTHON, or this one with LibTorch's wheel (torch_without_cuda.py).

peer_python.py WHEEL COMPILER DIRECTORY SCRIPT [ARGUMENT ...] becomes that Python running SCRIPT; stand-ins for CUDA's libraries go to DIRECTORY.
"""

import os
import sys
from pathlib import Path

import torch_without_cuda

SKIPPED = 77  # what CTest takes as skipped


def find(wheel, compiler, directory):
    """(interpreter, environment)."""
    chosen = os.environ.get("COUPLET_PYTHON")
    if chosen:
        return chosen, dict(os.environ)
    return sys.executable, torch_without_cuda.environment(Path(wheel), compiler, Path(directory))


def checkout(name):
    """The folder of a peer's checkout; ends the process as skipped where there is none."""
    peers = os.environ.get("COUPLET_PEERS")
    if not peers:
        print(f"skipped: COUPLET_PEERS, the folder of the checkout {name}, is unset")
        sys.exit(SKIPPED)
    path = Path(peers) / name
    if not path.is_dir():
        print(f"skipped: {path} does not exist (COUPLET_PEERS)")
        sys.exit(SKIPPED)
    return path


def main():
    wheel, compiler, directory, *command = sys.argv[1:]
    interpreter, environment = find(wheel, compiler, directory)
    os.execvpe(interpreter, [interpreter, *command], environment)


if __name__ == "__main__":
    main()
