#!/usr/bin/env python3
"""Kills a run again and again and compares what it ends with with a run that was left alone.

Runs `couplet run` once undisturbed, then in a second run directory with kills at random moments, spread over all stages; each
kill is followed by the same command. At the end the weights, shards and results of both must be equal byte for byte, no process may have
survived its launcher, and at most one checkpoint interval of steps a kill may have been done twice. Standard library only.
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

MODES = ("launcher SIGINT", "launcher SIGTERM", "launcher SIGKILL", "mpirun SIGKILL", "rank SIGKILL", "tree SIGKILL")
SURVIVAL_SECONDS = 15  # within which every process of a dead launcher is gone
RUN_SECONDS = 600
STOP_SECONDS = 120  # within which a killed run ends


# Processes


def processes():
    """pid -> (parent, name, command line) of all processes that are not zombies."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
        if state != "Z":
            found[int(entry.name)] = (int(parent), name, command)
    return found


def descendants(root, table):
    found, last = [], [root]
    while last:
        last = [pid for pid, (parent, _, _) in table.items() if parent in last]
        found += last
    return found


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def strike(mode, launcher, rng):
    """Kills as `mode` says; returns what was really hit."""
    table = processes()
    tree = descendants(launcher, table)
    who, number = mode.split()
    number = getattr(signal, number)
    mpirun = [pid for pid in tree if table[pid][1] in ("mpirun", "orterun")]
    ranks = [pid for pid in tree if table[pid][1] == "couplet"]
    if who == "tree":
        for pid in [launcher] + tree:
            send(pid, number)
    elif who == "mpirun" and mpirun:
        send(mpirun[0], number)
    elif who == "rank" and ranks:
        send(rng.choice(ranks), number)
    elif who == "launcher":
        send(launcher, number)
    else:
        send(launcher, signal.SIGKILL)
        return f"launcher SIGKILL (no {who} was there)"
    return mode


def check_no_survivors(run_dir):
    deadline = time.monotonic() + SURVIVAL_SECONDS
    while True:
        left = {pid: entry for pid, entry in processes().items() if str(run_dir) in entry[2] and pid != os.getpid()}
        if not left:
            return
        if time.monotonic() > deadline:
            fail(f"{SURVIVAL_SECONDS} s after their launcher these processes are still there: {left}")
        time.sleep(0.05)


# Runs


class Run:
    def __init__(self, arguments, name):
        self.directory = arguments.work / name
        self.command = [arguments.couplet, "run", "--config", arguments.config, "--run-dir", str(self.directory)]
        self.command += ["--ranks", str(arguments.ranks)] + arguments.keys
        self.couplet = arguments.couplet
        self.names = []
        self.output = arguments.work / f"{name}.out"

    def start(self):
        with open(self.output, "ab") as output:
            return subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def finish(self):
        launcher = self.start()
        try:
            status = launcher.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            launcher.kill()
            fail(f"{' '.join(self.command)} did not end within {RUN_SECONDS} s")
        if status != 0:
            print(self.output.read_text()[-4000:])
            fail(f"{' '.join(self.command)} ended with status {status}")

    def stages(self):
        """Stage names in order, from `couplet status`."""
        if self.names:
            return self.names
        text = subprocess.run([self.couplet, "status", str(self.directory), "--json"], check=True, capture_output=True).stdout
        self.names = [stage["stage"] for stage in json.loads(text)["stages"]]
        return self.names

    def record(self, stage):
        try:
            return json.loads((self.directory / stage / "stage.json").read_text())
        except OSError:
            return {"state": "none", "attempts": 0, "seconds": 0}

    def unfinished(self):
        """The first stage that is not complete; None if all are."""
        return next((stage for stage in self.stages() if self.record(stage)["state"] != "complete"), None)

    def progress(self, stage):
        """What the stage has done so far, in units of its own: metrics lines, shards, or bytes of scores."""
        directory = self.directory / stage
        try:
            if (directory / "metrics.jsonl").exists():
                return (directory / "metrics.jsonl").read_bytes().count(b"\n")
            if (directory / "records.json").exists():
                return (directory / "records.json").stat().st_size
        except OSError:
            return 0
        return len(list(directory.rglob("shard-*.h5")))

    def steps(self, stage):
        """(steps of the stage, steps that were lost to kills)."""
        directory = self.directory / stage
        steps = json.loads((directory / "metrics.jsonl").read_text().splitlines()[-1])["step"] + 1
        lost = sum(json.loads(line)["lost_steps"] for line in (directory / "events.jsonl").read_text().splitlines())
        return steps, lost

    def training_stages(self):
        return [stage for stage in self.stages() if (self.directory / stage / "metrics.jsonl").exists()]


def choose_targets(stages, seconds, kills, rng):
    """A stage for each kill, in the run's order: each stage once while there are kills, then the longest again."""
    first_of_kind = {stage.split("/")[0]: stage for stage in reversed(stages)}
    order = list(first_of_kind.values()) + [stage for stage in stages if stage not in first_of_kind.values()]
    longest = sorted(stages, key=lambda stage: -seconds[stage])[:4]
    while len(order) < kills:
        order += rng.sample(longest, len(longest))
    return sorted(order[:kills], key=stages.index)


def wait_for(launcher, condition, what):
    """Until `condition` holds or the launcher has ended; machines differ in speed, so we wait for progress, not for times."""
    deadline = time.monotonic() + RUN_SECONDS
    while launcher.poll() is None and not condition():
        if time.monotonic() > deadline:
            launcher.kill()
            fail(f"{what} did not come within {RUN_SECONDS} s")
        time.sleep(0.02)


def kill_once(run, stage, progress, mode, rng):
    """Starts the run, kills it when `stage` has made that much progress. Returns what was hit and in which stage, or None if the run had ended."""
    launcher = run.start()
    words = f" stage {stage} --launched"
    begun = lambda: any(words in entry[2] and str(run.directory) in entry[2] for entry in processes().values())
    wait_for(launcher, begun, f"the start of {stage}")
    done = lambda: run.progress(stage) >= progress or run.record(stage)["state"] == "complete"
    wait_for(launcher, done, f"progress {progress} of {stage}")
    time.sleep(rng.uniform(0, 0.2))
    if launcher.poll() is not None:
        if launcher.returncode != 0:
            fail(f"the run ended with status {launcher.returncode} before it was killed; see {run.output}")
        return None
    struck = run.unfinished()
    hit = strike(mode, launcher.pid, rng)
    try:
        status = launcher.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        launcher.kill()
        fail(f"{STOP_SECONDS} s after {hit} the launcher still runs")
    check_no_survivors(run.directory)
    expected = {"SIGINT": 75, "SIGTERM": 75, "SIGKILL": -signal.SIGKILL}[hit.split()[1]]
    if hit.split()[0] in ("mpirun", "rank"):
        expected = 1
    if run.unfinished() is None:  # it came at the very end
        return None
    if status != expected:
        fail(f"after {hit} in {struck} the launcher's status is {status}, expected {expected}; see {run.output}")
    return hit, struck


# Comparison


def results(directory):
    """Relative path -> bytes of everything but logs, times, curves (which hold times) and checkpoints."""
    found = {}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if not path.is_file() or {"log", "checkpoints", "tensorboard", "report"} & set(relative.parts):
            continue
        if relative.name in ("lock", ".parts-lock", "stage.json", "metrics.jsonl", "events.jsonl"):
            continue
        found[str(relative)] = path.read_bytes()
    return found


def compare(plain, killed):
    one, two = results(plain.directory), results(killed.directory)
    if set(one) != set(two):
        fail(f"files of one run only: {sorted(set(one) ^ set(two))}")
    suffixes = {Path(name).suffix for name in one}
    if not {".h5", ".safetensors", ".json"} <= suffixes:
        fail(f"nothing to compare: only {suffixes}")
    different = [name for name in one if one[name] != two[name]]
    if different:
        fail(f"files that differ: {different}")
    print(f"{len(one)} files are equal byte for byte", flush=True)


def check_steps(run, kills, interval):
    done = allowed = 0
    for stage in run.training_stages():
        steps, lost = run.steps(stage)
        print(f"{stage}: {steps} steps, {lost} done again", flush=True)
        done += steps + lost
        allowed += steps
    if done > allowed + kills * interval:
        fail(f"{done} steps for {allowed}, with {kills} kills and a checkpoint every {interval} steps")


def checkpoint_interval(run):
    lines = (run.directory / "config.ini").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("checkpoint-every")).split("=")[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for both runs; emptied first, removed on success")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep both run directories")
    parser.add_argument("keys", nargs="*", help="-- followed by keys for `couplet run`")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)

    plain, killed = Run(arguments, "plain"), Run(arguments, "killed")
    start = time.monotonic()
    plain.finish()
    stages = killed.names = plain.stages()
    seconds = {stage: plain.record(stage)["seconds"] for stage in stages}
    print(f"undisturbed: {time.monotonic() - start:.0f} s; {seconds}", flush=True)

    targets = choose_targets(stages, seconds, arguments.kills, rng)
    hits = []
    for index, stage in enumerate(targets):
        mode = MODES[index % len(MODES)]
        # Kills of one stage come one after another within it; the first may fall into the start of its processes.
        nth, count = targets[:index].count(stage), targets.count(stage)
        progress = int((nth + rng.uniform(0, 0.9)) / count * plain.progress(stage))
        hit = kill_once(killed, stage, progress, mode, rng)
        told = f"{hit[0]} in {hit[1]}" if hit else "the run had ended"
        print(f"kill {index + 1}: {told}; aimed at {stage} after {progress} of {plain.progress(stage)}", flush=True)
        if hit is None:
            break
        hits.append(hit)
    killed.finish()
    check_no_survivors(killed.directory)

    missed = {stage.split("/")[0] for stage in targets} - {stage.split("/")[0] for _, stage in hits}
    if missed:
        print(f"no kill came in time for {sorted(missed)}", flush=True)
        if missed != {"report"}:
            fail("some stages were not hit; try another --seed")
    compare(plain, killed)
    check_steps(killed, len(hits), checkpoint_interval(plain))
    if not arguments.keep:
        shutil.rmtree(arguments.work)
    print(f"{len(hits)} kills: the same results", flush=True)


if __name__ == "__main__":
    main()
