#!/usr/bin/env python3
"""Ranks that disagree, that are stopped, and requests to stop, with the real program.

Two ranks with another seed, or with another data set under the same configuration, are refused before any work; a rank stopped in the middle of training ends the run
within pipeline.timeout with a line that names it; a second SIGTERM does not wait for ranks that do not react; pipeline.time-limit stops a run, and a stage on its own, with
a checkpoint from which the next one goes on. Standard library only.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import fail  # noqa: E402

SECONDS = 120  # within which whatever is started here ends
TIMEOUT = 4  # pipeline.timeout


class Program:
    def __init__(self, arguments):
        self.couplet, self.mpiexec, self.work = arguments.couplet, arguments.mpiexec, arguments.work
        # 600 images, and a classifier that trains for ever.
        keys = {"prepare.train-rows": 600, "prepare.test-rows": 100, "features.images": 10**9, "pipeline.threads": 1}
        self.common = ["--config", arguments.config] + [str(word) for key in keys.items() for word in ("--" + key[0], key[1])]

    def stage(self, name, directory, *more):
        return [self.couplet, "stage", name, "--run-dir", str(directory), *self.common, *more]

    def run(self, directory, *more):
        return [self.couplet, "run", "--ranks", "2", "--run-dir", str(directory), *self.common, *more]

    def two_ranks(self, first, second):
        return [self.mpiexec, "--oversubscribe", "-n", "1", *first, ":", "-n", "1", *second]

    def start(self, command):
        output = open(self.work / "output", "w")
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def end_of(self, process, command):
        """Its status and all it said."""
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            fail(f"{' '.join(command)} did not end within {SECONDS} s: {(self.work / 'output').read_text()[-2000:]}")
        return status, (self.work / "output").read_text()

    def finish(self, command):
        return self.end_of(self.start(command), command)


def expect(status, text, expected, *parts):
    if status != expected:
        fail(f"status {status}, expected {expected}: {text[-3000:]}")
    for part in parts:
        if part not in text:
            fail(f"'{part}' is not said in: {text[-3000:]}")


def ranks_of(directory):
    """pid of every rank that works in a run directory, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"stage" not in words[:2] or str(directory).encode() not in words:
            continue
        for variable in environment:
            if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                found[int(variable.split(b"=")[1])] = int(entry.name)
    return found


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start_training(program, directory, command):
    """A run whose classifier has made some steps more; with its ranks."""
    before = len(lines_of(directory / "features" / "metrics.jsonl"))
    launcher = program.start(command)
    deadline = time.monotonic() + SECONDS
    while len(lines_of(directory / "features" / "metrics.jsonl")) < before + 3:
        if launcher.poll() is not None or time.monotonic() > deadline:
            launcher.kill()
            fail(f"no training: {(program.work / 'output').read_text()[-3000:]}")
        time.sleep(0.05)
    return launcher, ranks_of(directory)


def expect_nobody(directory):
    deadline = time.monotonic() + 10
    while ranks_of(directory):
        if time.monotonic() > deadline:
            fail(f"ranks are left: {ranks_of(directory)}")
        time.sleep(0.05)


def test_disagreement(program):
    one, other = program.work / "one", program.work / "other"
    status, text = program.finish(program.two_ranks(program.stage("prepare", one), program.stage("prepare", one, "--pipeline.seed", "5")))
    expect(status, text, 2, "the ranks disagree about what they are to do", 'pipeline.seed is "0" on rank 0, "5" on rank 1')
    if (one / "prepare").exists():
        fail("ranks that disagree have begun to work")
    # The same configuration, other files. Rank 1 notes what it does beside them.
    (other / "log" / "ranks").mkdir(parents=True)
    swapped = ["--prepare.train-images", "t10k-images-idx3-ubyte.gz", "--prepare.train-labels", "t10k-labels-idx1-ubyte.gz"]
    for directory, more in ((one, []), (other, swapped)):
        expect(*program.finish(program.stage("prepare", directory, *more)), 0)
    status, text = program.finish(program.two_ranks(program.stage("features", one), program.stage("features", other)))
    expect(status, text, 2, "the ranks disagree about what features is trained on", "dataset is")
    if (one / "features" / "checkpoints").exists():
        fail("ranks that disagree have begun to train")


def test_stopped_rank(program, directory, rank):
    command = program.run(directory, "--pipeline.timeout", str(TIMEOUT))
    launcher, ranks = start_training(program, directory, command)
    os.kill(ranks[rank], signal.SIGSTOP)
    start = time.monotonic()
    status, text = program.end_of(launcher, command)
    seconds = time.monotonic() - start
    expect(status, text, 1, f"rank {1 - rank}: rank {rank} did not arrive at ", f"process {ranks[rank]} on ")
    if text.count("did not arrive") != 1:
        fail(f"said more than once: {text[-3000:]}")
    expect_nobody(directory)
    print(f"rank {rank} stopped: all ended after {seconds:.1f} s", flush=True)


def test_second_signal(program, directory):
    command = program.run(directory)
    launcher, ranks = start_training(program, directory, command)
    for pid in ranks.values():
        os.kill(pid, signal.SIGSTOP)  # neither answers
    launcher.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    if launcher.poll() is not None:
        fail("the first SIGTERM did not wait")
    launcher.send_signal(signal.SIGTERM)
    expect(*program.end_of(launcher, command), 75, "without waiting for its checkpoint")
    expect_nobody(directory)


def test_time_limit(program, directory):
    features = directory / "features"
    expect(*program.finish(program.run(directory, "--pipeline.time-limit", "6")), 75, "pipeline.time-limit is over")
    stopped = lines_of(features / "events.jsonl")[-1]
    if stopped["event"] != "interrupted":
        fail(f"no checkpoint at the time limit: {stopped}")
    expect(*program.finish(program.stage("features", directory, "--pipeline.time-limit", "5")), 75, "pipeline.time-limit is over")
    events = lines_of(features / "events.jsonl")[-2:]
    if [event["event"] for event in events] != ["resume", "interrupted"] or events[0]["step"] != stopped["step"] or events[0]["lost_steps"]:
        fail(f"the stage did not go on from step {stopped['step']} to another checkpoint: {events}")
    if events[1]["step"] <= stopped["step"]:
        fail(f"the stage made no step: {events}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for all runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    program = Program(arguments)
    test_disagreement(program)
    directory = arguments.work / "run"
    for rank in (0, 1):
        test_stopped_rank(program, directory, rank)
    test_second_signal(program, directory)
    test_time_limit(program, directory)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
