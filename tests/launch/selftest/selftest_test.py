#!/usr/bin/env python3
"""`couplet selftest` as a user calls it: alone, on two ranks both ways, and where something is wrong. Standard library only."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import check, fail  # noqa: E402

CHECKS = ["version", "ranks", "directory", "communicator", "device", "NCCL", "files", "HDF5", "student", "teacher", "checkpoint"]
LAUNCHERS = ("OMPI_", "PMIX_", "PMI_", "SLURM_", "CUDA_VISIBLE_DEVICES", "MPI_LOCALNRANKS")


class Selftest:
    def __init__(self, arguments):
        self.program, self.mpiexec, self.work = arguments.couplet, arguments.mpiexec, arguments.work

    def call(self, *words, ranks=0, program=None, environment=None):
        """Its status, and what it says on stdout and on stderr."""
        launch = [self.mpiexec, "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks else []
        plain = {name: value for name, value in os.environ.items() if ranks or not name.startswith(LAUNCHERS)}
        done = subprocess.run([*launch, str(program or self.program), "selftest", *map(str, words)], capture_output=True, text=True, timeout=100,
                              env=plain | (environment or {}), cwd=self.work)
        return done.returncode, done.stdout, done.stderr


def states(text):
    """{check: (state, what it says)} of the lines of all checks, which come in order."""
    found = {}
    for line in text.splitlines():
        parts = re.fullmatch(r"(\S+) +(ok|FAILED|skipped) +(\S.*)", line)
        if parts:
            found[parts[1]] = (parts[2], parts[3])
    check(list(found) == CHECKS, f"lines of the checks {list(found)}, expected {CHECKS}:\n{text}")
    return found


def leaves_nothing(directory):
    left = list(directory.iterdir())
    check(not left, f"it left {left}")


def passes(selftest, what, *words, ranks=0, skipped=()):
    directory = selftest.work / "files"
    status, out, errors = selftest.call("--dir", directory, *words, ranks=ranks)
    check(status == 0, f"{what}: status {status}\n{out}\n{errors}")
    found = states(out)
    for name, (state, text) in found.items():
        # A GPU is for the tests of the label gpu to try.
        check(state == ("skipped" if name in skipped else "ok") or name == "NCCL", f"{what}: {name} is {state}: {text}")
    check(errors == "", f"{what}: it says {errors}")
    leaves_nothing(directory)
    return found


def fails(selftest, what, name, parts, *words, **more):
    """By this check, in whose line all parts stand; nothing else fails."""
    code, out, errors = selftest.call(*words, **more)
    check(code == 1, f"{what}: status {code}, expected 1\n{out}\n{errors}")
    found = states(out)
    wrong = [each for each, (state, _) in found.items() if state == "FAILED"]
    check(wrong == [name], f"{what}: {wrong} failed, expected {name} alone\n{out}")
    for part in parts:
        check(part in found[name][1], f"{what}: '{part}' is not in: {found[name][1]}")
    check(errors == f"couplet: selftest: these checks failed: {name}\n", f"{what}: it says {errors}")
    return found


def refuses(selftest, what, parts, *words, **more):
    code, out, errors = selftest.call(*words, **more)
    check(code == 2 and out == "", f"{what}: status {code}, expected 2 before any check\n{out}\n{errors}")
    for part in parts:
        check(part in errors, f"{what}: '{part}' is not in: {errors}")


def works(selftest):
    """Returns what the device is."""
    found = passes(selftest, "alone", skipped=("communicator",))
    check(re.search(r"1 on \S+ of one build|1 rank of one build", found["ranks"][1]), found["ranks"][1])
    for words, ranks in (((), 2), (("--ranks", 2), 0)):
        found = passes(selftest, f"{words}, {ranks} ranks by mpirun", *words, ranks=ranks)
        check("2 ranks of one build" in found["ranks"][1], found["ranks"][1])
        check(re.search(r"all-reduce of 16 MiB at [0-9.e+]+ GB/s", found["communicator"][1]), found["communicator"][1])
        check("locks hold between ranks" in found["files"][1], found["files"][1])
        check("each rank alone and on all 2" in found["student"][1], found["student"][1])
    return found["device"][1]


def refused(selftest):
    file = selftest.work / "file"
    file.touch()
    refuses(selftest, "a directory that is not there", ["nowhere", "is not there"], "--dir", selftest.work / "nowhere")
    refuses(selftest, "a file in place of a directory", [str(file), "is no directory"], "--dir", file)
    file.unlink()
    # Started by the mpirun of another MPI, each process is alone to ours.
    for variables in ({"PMI_SIZE": "4", "PMI_RANK": "0"}, {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}):
        refuses(selftest, f"{variables}", ["4 processes were started", "does not belong to"], environment=variables)


def fails_by_name(selftest):
    # Where not even root makes a directory.
    found = fails(selftest, "a directory that cannot be written", "directory", ["rank 0 on ", "/sys/kernel cannot be written"], "--dir", "/sys/kernel")
    for name in ("files", "HDF5", "student", "teacher", "checkpoint"):
        check(found[name][0] == "skipped", f"without a directory, {name} is {found[name]}")


def missing_libraries(selftest, driver):
    """No driver for GPUs that a job was given; a driver, and a libcouplet_cuda.so beside the program that is none."""
    files = ("--dir", selftest.work / "files")
    fails(selftest, "GPUs without a driver", "device", ["SLURM_GPUS = 2", "libcuda.so.1"], *files, environment={"SLURM_GPUS": "2"})
    folder = selftest.work / "broken"
    folder.mkdir()
    os.link(selftest.program, folder / "couplet")
    (folder / "libcouplet_cuda.so").write_text("no library\n")
    fails(selftest, "a broken library", "device", [f"{folder}/libcouplet_cuda.so cannot be loaded"], *files,
          program=folder / "couplet", environment={"LD_LIBRARY_PATH": str(driver.parent), "CUDA_VISIBLE_DEVICES": "0"})
    leaves_nothing(selftest.work / "files")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True, type=Path)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--driver", required=True, type=Path, help="a libcuda.so.1")
    parser.add_argument("--work", required=True, type=Path, help="directory for the files; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    (arguments.work / "files").mkdir(parents=True)
    selftest = Selftest(arguments)
    if subprocess.run([arguments.couplet, "selftest", "--help"], capture_output=True, check=False).returncode != 0:
        fail("there is no help")
    device = works(selftest)
    refused(selftest)
    fails_by_name(selftest)
    if "no NVIDIA driver" in device:
        missing_libraries(selftest, arguments.driver)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
