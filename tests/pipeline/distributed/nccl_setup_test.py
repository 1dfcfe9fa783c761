#!/usr/bin/env python3
"""Ranks of which one fails, or all hang, while NCCL is set up: all end, soon, and a line says who and why. With stand-ins for the driver and for
libcouplet_cuda.so."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "launch"))
from program import check  # noqa: E402

TIMEOUT = 6  # seconds: pipeline.timeout


def ranks_left(program):
    left = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == os.fsencode(program):
            left.append(process)
    return left


def set_up(arguments, what, status=1):
    """Runs a stage on two ranks, each with a GPU that it calls 0, whose NCCL does `what`; the lines on stderr."""
    run = arguments.work / what.replace(" ", "-")
    program = arguments.work / "couplet"
    environment = os.environ | {"LD_LIBRARY_PATH": str(arguments.driver.parent), "COUPLET_STAND_IN": what}
    start = time.monotonic()
    done = subprocess.run([arguments.mpiexec, "--oversubscribe", "-n", "2", program, "stage", "prepare", "--run-dir", run, "--config", arguments.config,
                           "--pipeline.device", "cuda", "--pipeline.timeout", str(TIMEOUT)],
                          capture_output=True, text=True, timeout=90, env=environment)
    took = time.monotonic() - start
    check(done.returncode == status, f"{what}: status {done.returncode}\n{done.stderr}")
    check(took < 45, f"{what}: it took {took:.0f} s to end")
    check(not ranks_left(program), f"{what}: ranks are left")
    check("terminate called" not in done.stderr, f"{what}: an exception ended a rank\n{done.stderr}")
    print(f"NCCL {what}: ended within {took:.0f} s", flush=True)
    return [line for line in done.stderr.splitlines() if line.startswith("couplet: ") or "share" in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True, type=Path)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--driver", required=True, type=Path, help="a libcuda.so.1")
    parser.add_argument("--library", required=True, type=Path, help="a libcouplet_cuda.so")
    parser.add_argument("--work", required=True, type=Path, help="directory for the runs; emptied first, removed on success")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    # The program takes the library that lies beside it.
    os.link(arguments.couplet, arguments.work / "couplet")
    shutil.copy(arguments.library, arguments.work / "libcouplet_cuda.so")

    version = subprocess.run([arguments.work / "couplet", "version"], capture_output=True, text=True, timeout=90,
                             env=os.environ | {"LD_LIBRARY_PATH": str(arguments.driver.parent)}).stdout
    check("\nCUDA built; 1 GPU is usable: 0000:65:00.0\n" in version, f"couplet version: {version}")
    lines = set_up(arguments, "fails")
    check(lines == ["couplet: rank 1: ncclCommInitRank failed on rank 1: NCCL: unhandled system error"], f"rank 1 fails: {lines}")
    lines = set_up(arguments, "no id")
    check(lines == ["couplet: rank 0: ncclGetUniqueId failed on rank 0: NCCL: no socket interface found"], f"rank 0 fails: {lines}")
    lines = set_up(arguments, "hangs")
    check(len(lines) == 1 and "NCCL's set-up" in lines[0] and "raise pipeline.timeout" in lines[0], f"all hang: {lines}")
    # Without NCCL the ranks go on: to LibTorch, which has no GPU here.
    lines = set_up(arguments, "shares")
    check(any("2 ranks share a GPU (0000:65:00.0 of " in line and "not NCCL" in line for line in lines), f"one GPU for both: {lines}")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
