#!/usr/bin/env python3
"""cmake -DCOUPLET_CUDA=ON fails where NCCL's header is missing, and says which and what to do; AUTO and OFF go on without."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(option LANGUAGES NONE)
include(%s/cmake/LibTorch.cmake)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--source", required=True, type=Path)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    (arguments.work / "CMakeLists.txt").write_text(PROJECT % arguments.source)

    def configure(option):
        done = subprocess.run([arguments.cmake, "-S", arguments.work, "-B", arguments.work / option, f"-DCOUPLET_TORCH={arguments.torch}",
                               f"-DCOUPLET_CUDA={option}", "-DCOUPLET_NCCL_INCLUDE=/nowhere"], capture_output=True, text=True, timeout=100)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    status, text = configure("ON")
    check(status != 0, "COUPLET_CUDA=ON went on without nccl.h")
    for part in ("there is no", "/nowhere/nccl.h", "scripts/setup gpu", "COUPLET_NCCL_INCLUDE", "docs/gpu.md"):
        check(part in text, f"{part!r} is not in: {text}")
    for option in ("AUTO", "OFF"):
        status, text = configure(option)
        # LibTorch's targets need a language; what counts here is what was said of CUDA.
        check("CPU only" in text and "building libcouplet_cuda.so" not in text, f"COUPLET_CUDA={option}: {text}")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
