#!/usr/bin/env python3
"""One training stage on two ranks, killed thirty times: a rank, all of them, or in the middle of publishing a checkpoint.

Every rerun must go on from the newest checkpoint that is there, nothing may hang, at most one checkpoint interval of steps a kill may be done twice, and the
end must be that of a run that was left alone, byte for byte. Standard library only.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import fail  # noqa: E402

STEPS, INTERVAL, RANKS = 200, 8, 2
KEYS = f"""
--prepare.train-rows 480 --prepare.test-rows 96 --prepare.shard-rows 240 --prepare.block-rows 60
--teacher.images {48 * STEPS} --teacher.batch 48 --teacher.validate-every 100000 --teacher.dropout 0.1
--pipeline.checkpoint-every {INTERVAL} --pipeline.threads 1
""".split()
POINTS = ("written", "synced", "renamed", "published")  # of storage/files/atomic_file.cpp
END_SECONDS = 60  # within which a killed start has ended


def ranks_of(mpirun):
    """Process ids of the ranks below an mpirun."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text() if entry.name.isdigit() else ""
        except OSError:
            continue
        if stat and int(stat[stat.rindex(")") + 2 :].split()[1]) == mpirun and "(couplet)" in stat:
            found.append(int(entry.name))
    return found


class Training:
    def __init__(self, arguments, name):
        self.arguments, self.run_dir = arguments, arguments.work / name
        self.directory = self.run_dir / "teacher"

    def command(self, stage, ranks):
        mpirun = [] if ranks == 1 else [self.arguments.mpiexec, "--oversubscribe", "-n", ranks]
        words = (*mpirun, self.arguments.couplet, "stage", stage, "--config", self.arguments.config, "--run-dir", self.run_dir)
        return [str(word) for word in (*words, *KEYS)]

    def start(self, stage="teacher", ranks=RANKS, kill_in_publish=None):
        # mpirun ends the rank that is left at once, not after two seconds.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMPI_MCA_odls_base_sigkill_timeout": "0"}
        if kill_in_publish:
            environment["COUPLET_TEST_KILL_IN_PUBLISH"] = kill_in_publish
        with open(f"{self.run_dir}.out", "ab") as output:
            return subprocess.Popen(self.command(stage, ranks), stdout=output, stderr=output, env=environment)

    def finish(self, stage="teacher", ranks=RANKS):
        status = self.start(stage, ranks).wait(300)
        if status != 0:
            fail(f"{stage} in {self.run_dir} ended with status {status}; see {self.run_dir}.out")

    def steps_done(self):
        try:
            return (self.directory / "metrics.jsonl").read_bytes().count(b"\n")
        except OSError:
            return 0

    def newest(self):
        """Steps of the newest checkpoint; 0: there is none."""
        names = [path.name for path in (self.directory / "checkpoints").glob("step-*")]
        return max((int(name.removeprefix("step-")) for name in names), default=0)

    def events(self):
        try:
            return [json.loads(line) for line in (self.directory / "events.jsonl").read_text().splitlines()]
        except OSError:
            return []


def wait_until(process, condition):
    deadline = time.monotonic() + END_SECONDS
    while process.poll() is None and not condition():
        if time.monotonic() > deadline:
            process.kill()
            fail(f"no progress within {END_SECONDS} s")
        time.sleep(0.005)


def kill_once(training, number, rng):
    """Starts the training and kills it; returns what was killed."""
    mode = ("rank", "all", "save")[number % 3]
    point = rng.choice(("step-", "latest")) + ":" + rng.choice(POINTS)
    starts, newest = len(training.events()), training.newest()
    process = training.start(kill_in_publish=point if mode == "save" else None)
    if mode == "save":
        mode = point
        wait_until(process, lambda: False)
    else:
        # Only then the metrics are this start's: what the one before left behind its checkpoint is cut.
        wait_until(process, lambda: len(training.events()) > starts)
        steps = min(newest + rng.randrange(1, 2 * INTERVAL), STEPS - 4)
        wait_until(process, lambda: training.steps_done() >= steps)
        for rank in ranks_of(process.pid) if mode == "all" else rng.sample(ranks_of(process.pid), 1):
            os.kill(rank, signal.SIGKILL)
    try:
        status = process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        fail(f"{END_SECONDS} s after kill {number} ({mode}) mpirun still runs")
    if status == 0:
        fail(f"start {number} was not killed ({mode})")
    return mode


def check_results(plain, killed):
    for name in ("weights.safetensors", "ema.safetensors", "summary.json"):
        if (plain.directory / name).read_bytes() != (killed.directory / name).read_bytes():
            fail(f"{name} differs")
    lines = [(training.directory / "metrics.jsonl").read_text().splitlines() for training in (plain, killed)]
    for one, other in zip(*(map(json.loads, part) for part in lines), strict=True):
        if any(one[key] != other[key] for key in ("step", "loss", "grad_norm", "digest")):
            fail(f"metrics differ: {one} {other}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    rng = random.Random(arguments.seed)

    plain, killed = Training(arguments, "plain"), Training(arguments, "killed")
    plain.finish("prepare", 1)
    shutil.copytree(plain.run_dir, killed.run_dir)
    plain.finish()
    newest = []
    for number in range(arguments.kills):
        mode = kill_once(killed, number, rng)
        newest.append(killed.newest())
        print(f"kill {number + 1}: {mode}, {killed.steps_done()} steps done, checkpoint of {newest[-1]}", flush=True)
    killed.finish()

    resumed = [event["step"] for event in killed.events() if event["event"] in ("start", "resume")]
    if resumed != [0] + newest:
        fail(f"starts went on at {resumed}; the newest checkpoints were at {newest}")
    executed = STEPS + sum(event["lost_steps"] for event in killed.events())
    print(f"{executed} steps executed for {STEPS}, {arguments.kills} kills, a checkpoint every {INTERVAL}", flush=True)
    if executed > STEPS + arguments.kills * INTERVAL:
        fail("more than one interval a kill was done again")
    check_results(plain, killed)
    print("passed")


if __name__ == "__main__":
    main()
