#!/usr/bin/env python3
"""A small run of the program that is built with MPICH: stopped on request with a checkpoint, continued to its end on two ranks, with the rows that the program of
the other MPI makes; a rank that fails, or that is killed, ends the run with the reason; and the launcher of the one MPI is no launcher of the other's program."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check, fail  # noqa: E402

# A run of some twenty steps a model.
TINY = {"prepare.train-rows": 300, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50, "features.images": 240,
        "features.batch": 24, "features.dimension": 8, "teacher.images": 240, "teacher.batch": 24, "teacher.preview-every": 0,
        "couple.shard-rows": 150, "couple.block-rows": 50, "couple.slice-rows": 50, "student.images": 240, "student.batch": 24,
        "student.preview-every": 0, "evaluate.samples": 40, "evaluate.slice-rows": 20, "evaluate.euler-nfe": "1 2", "evaluate.heun-nfe": 3,
        "evaluate.curvature-samples": 8, "evaluate.curvature-steps": 4, "evaluate.pairing-rows": 8, "evaluate.pairing-nfe": 2,
        "evaluate.pairwise-images": 20, "evaluate.grid-rows": 1, "pipeline.device": "cpu", "pipeline.threads": 1, "pipeline.checkpoint-every": 3}
ENDLESS = {**TINY, "features.images": 10**9, "pipeline.stop-grace": 30}
SECONDS = 300  # for one command: the machine may be busy, and ranks of MPICH that wait keep their cores


class Runner:
    def __init__(self, arguments):
        self.couplet, self.other, self.hydra, self.config, self.work = (
            arguments.couplet, arguments.other, arguments.hydra, arguments.config, arguments.work)

    def words(self, *words, run, keys=TINY, program=None):
        settings = [str(word) for key, value in keys.items() for word in (f"--{key}", *str(value).split())]
        return [program or self.couplet, *map(str, words), "--config", self.config, "--run-dir", str(self.work / run), *settings]

    def call(self, words, expected=0):
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
        said = done.stdout[-2000:] + done.stderr
        check(done.returncode == expected, f"{' '.join(words[:6])}: status {done.returncode}, expected {expected}\n{said}")
        return said

    def start_endless(self, run):
        """A run whose ranks train."""
        metrics = self.work / run / "features/metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        process = subprocess.Popen(self.words("run", "--ranks", 2, run=run, keys=ENDLESS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + SECONDS
        while not (metrics.exists() and metrics.stat().st_size > before):
            if process.poll() is not None:
                fail(f"the run ended: {process.stdout.read()}")
            check(time.monotonic() < deadline, "no step of training within the time")
            time.sleep(0.1)
        return process

    def end(self, process):
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            fail(f"the run did not end: {process.communicate()[0][-2000:]}")
        return process.returncode, said


def ranks_of(process):
    """Process ids of the ranks below `couplet run`: children of Hydra's proxy."""
    table = {}
    for entry in Path("/proc").iterdir():
        try:
            stat, command = (entry / "stat").read_text(), (entry / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if entry.name.isdigit():
            table[int(entry.name)] = (int(stat[stat.rindex(")") + 2 :].split()[1]), command)
    below = {process.pid}
    for _ in range(3):  # the launcher, its proxy, the ranks
        below |= {pid for pid, (parent, _) in table.items() if parent in below}
    return sorted(pid for pid in below if table.get(pid, (0, [b""]))[1][1:2] == [b"stage"])


def rows_of(run):
    return {path.name: path.read_bytes() for path in sorted((run / "prepare").rglob("*.h5"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("couplet", "other", "hydra", "config"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_mpi_yield_when_idle="1")
    runner = Runner(arguments)
    version = runner.call([runner.couplet, "version"])
    check("MPI MPICH " in version, version)

    # A request to stop goes through Hydra to the ranks, which save.
    stopped = runner.start_endless("endless")
    stopped.send_signal(signal.SIGTERM)
    status, said = runner.end(stopped)
    check(status == 75 and "stopped in features" in said, f"a request to stop: status {status}\n{said}")
    check(list((arguments.work / "endless/features").rglob("*checkpoint*")) or list((arguments.work / "endless/features").rglob("*.safetensors")),
          "no checkpoint was written")
    # A rank that is killed.
    killed = runner.start_endless("endless")
    ranks = ranks_of(killed)
    check(len(ranks) == 2, f"ranks of the run: {ranks}")
    os.kill(ranks[1], signal.SIGKILL)
    status, said = runner.end(killed)
    check(status == 1 and "stage features failed" in said, f"a killed rank: status {status}\n{said}")

    runner.call(runner.words("run", "--ranks", 2, run="whole"))
    check((arguments.work / "whole/report/report.html").exists(), "no report")
    runner.call([runner.hydra, "-n", "3", *runner.words("stage", "prepare", run="hydra")])
    runner.call(["mpirun", "--oversubscribe", "-n", "2", *runner.words("stage", "prepare", run="other", program=runner.other)])
    rows = rows_of(arguments.work / "other")
    check(rows, "no rows were made")
    for run in ("whole", "hydra"):
        check(rows_of(arguments.work / run) == rows, f"{run}: other rows than the other MPI's")

    # Two processes that know nothing of each other.
    said = runner.call([runner.hydra, "-n", "2", *runner.words("stage", "prepare", run="wrong", program=runner.other)], expected=2)
    check("the launcher does not belong to Open MPI" in said, said)
    said = runner.call(["mpirun", "--oversubscribe", "-n", "2", *runner.words("stage", "prepare", run="wrong")], expected=2)
    check("the launcher does not belong to MPICH" in said, said)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
