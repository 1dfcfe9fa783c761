"""The environment in which Debian's python3 imports PyTorch from LibTorch's wheel on a machine without CUDA's libraries.

The wheel is linked against libraries of CUDA that scripts/setup leaves out (gigabytes); nothing on a CPU calls them. Libraries of the same names and
symbols stand in for them, and end the process if they are called after all. Where the wheel brings the real ones, those are used.
"""

import os
import re
import subprocess

LIBRARY = re.compile(r"NEEDED.*\[(lib(?:cu(?:blas|dnn|fft|file|rand|solver|sparse)|nccl|nvshmem)[^\]]*)\]")
SYMBOL = re.compile(r"^\s+U ((?:cu(?:blas|dnn|fft|File|rand|solver|sparse)|nccl|nvshmem)\w*)", re.MULTILINE)


def output_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def make_stand_ins(wheel, compiler, directory):
    libraries, symbols = set(), set()
    for path in sorted((wheel / "torch/lib").glob("*.so")):
        libraries.update(LIBRARY.findall(output_of("readelf", "-d", path)))
        symbols.update(SYMBOL.findall(output_of("nm", "-D", "--undefined-only", path)))
    directory.mkdir(parents=True, exist_ok=True)
    source = directory / "stand_ins.c"
    lines = ["static void called(void) { __builtin_trap(); }"]
    lines += [f'void {symbol}(void) __attribute__((alias("called")));' for symbol in sorted(symbols)]
    source.write_text("\n".join(lines) + "\n")
    link = [compiler, "-shared", "-fPIC", "-nostdlib", "-o"]
    # All symbols are in a library of its own: the loader insists on versions in those that are asked for by name.
    output_of(*link, directory / "libstand_ins.so", source)
    for library in libraries:
        named = [f"-Wl,-soname,{library}", "-Wl,--no-as-needed", "-L", directory, "-lstand_ins"]
        output_of(*link, directory / library, "-x", "c", "/dev/null", *named)


def environment(wheel, compiler, directory):
    make_stand_ins(wheel, compiler, directory)
    return {**os.environ, "LD_LIBRARY_PATH": str(directory), "PYTHONPATH": str(wheel), "OMP_NUM_THREADS": "1"}
