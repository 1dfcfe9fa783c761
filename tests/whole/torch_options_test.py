#!/usr/bin/env python3
"""How cmake takes LibTorch: -DCOUPLET_CUDA=ON fails where NCCL's header is missing, and says which and what to do; AUTO and OFF go on without. A torch that is
too old is refused with both versions, a newer one is warned of, and one without an OpenMP library of its own gets the compiler's."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(option LANGUAGES {languages})
include({source}/cmake/LibTorch.cmake)
"""


def fake_torch(directory, version):
    """A torch without an OpenMP library, such as Spack's, as far as cmake looks at it."""
    header = directory / "torch/include/torch/headeronly/version.h"
    for file in (header, directory / "torch/lib/libtorch_cpu.so"):
        file.parent.mkdir(parents=True)
        file.touch()
    names = zip(("MAJOR", "MINOR", "PATCH"), version.split("."))
    header.write_text("".join(f"#define TORCH_VERSION_{name} {number}\n" for name, number in names))
    return directory


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--source", required=True, type=Path)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)

    def configure(option, torch=arguments.torch, languages="NONE"):
        (arguments.work / "CMakeLists.txt").write_text(PROJECT.format(languages=languages, source=arguments.source))
        shutil.rmtree(arguments.work / "build", ignore_errors=True)
        done = subprocess.run([arguments.cmake, "-S", arguments.work, "-B", arguments.work / "build", f"-DCOUPLET_TORCH={torch}",
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

    status, text = configure("OFF", fake_torch(arguments.work / "old", "2.5.1"))
    check(status != 0 and "LibTorch 2.5.1 in" in text and "2.11.0 or newer is needed" in text, f"an old torch: {text}")
    new = fake_torch(arguments.work / "new", "2.99.0")
    status, text = configure("OFF", new, "CXX")
    check(status == 0 and "LibTorch 2.99.0 in" in text and "is tried with 2.11.0" in text, f"a newer torch: status {status}: {text}")
    check("OpenMP " in text and "libgomp" in text, f"no OpenMP of the compiler's: {text}")
    (new / "torch/lib/libtorch_cpu.so").unlink()
    status, text = configure("OFF", new)
    check(status != 0 and "torch/lib/libtorch_cpu.so" in text and "COUPLET_TORCH" in text, f"no torch: {text}")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
