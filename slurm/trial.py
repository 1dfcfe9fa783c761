"""A run of Couplet on a two-node cluster of its own, watched from the outside: what slurm/demo, slurm/chaos and their test share.

What it says of the run comes from squeue, /proc and the files of the run, not from `couplet status`, which it shows and thereby tests.
Standard library only.
"""

import argparse
import calendar
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from cluster import Cluster, ClusterError, all_processes, process_file

TREE = Path(__file__).resolve().parent.parent
RANKS = 2  # of each stage, in slurm/local.ini
# A requeued job that starts within the second finds its own credential revoked, and PMIx files of its last step.
RELEASE_SECONDS = 3
TRAINING = ("features", "teacher", "student/nf-0", "student/independent-0")


class TrialError(Exception):
    """What was expected and did not happen."""


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def arguments_of(description, work):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--couplet", type=Path, default=TREE / "build/couplet", help="the program")
    parser.add_argument("--config", type=Path, default=TREE / "configs/fashion-smoke.ini")
    parser.add_argument("--profile", type=Path, default=TREE / "slurm/local.ini")
    parser.add_argument("--work", type=Path, default=TREE / "runs" / work, help="directory for all of it; emptied first, removed on success")
    parser.add_argument("--keep", action="store_true", help="keep the run")
    parser.add_argument("keys", nargs="*", help="-- followed by keys of the configuration or the profile")
    return parser


def run_trial(arguments, act):
    """act(trial) on a fresh cluster, which is ended whatever happens; the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    Cluster(arguments.work / "cluster").stop()  # of a trial that was killed here
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    trial = Trial(arguments)
    failure = None
    try:
        trial.start()
        act(trial)
    except (TrialError, ClusterError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    except KeyboardInterrupt:
        failure = "stopped by Ctrl-C"
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        trial.stop()
    if failure:
        print(f"FAILED: {failure}\nThe run, its logs and Slurm's are kept in {arguments.work}", file=sys.stderr, flush=True)
        return 1
    if not arguments.keep:
        shutil.rmtree(arguments.work)
    return 0


class Trial:
    def __init__(self, arguments):
        self.couplet = arguments.couplet.resolve()
        self.arguments = arguments
        self.keys = list(arguments.keys)
        self.run = arguments.work.resolve() / "run"
        self.cluster = Cluster(arguments.work / "cluster")
        self.told = {}  # job -> what was last said of it
        self.waiting = {}  # requeued job -> since when it waits for its begin time
        self.sightings = {}  # stage -> jobs whose ranks were seen at one moment
        self.spans = {}  # (stage, job, restarts) -> when its ranks were first and last seen

    def start(self):
        if not self.couplet.exists():
            raise TrialError(f"there is no {self.couplet}; `make build` makes it")
        self.cluster.start()
        say(f"two nodes, n1 and n2, run in {self.cluster.directory}")

    def stop(self):
        try:
            self.cluster.stop()
        except ClusterError as error:
            print(f"WARNING: {error}", file=sys.stderr, flush=True)

    # The program

    def command(self, *words, check=True, seconds=120):
        """`couplet words`; what it said."""
        result = subprocess.run(
            [str(self.couplet), *words],
            env=os.environ | self.cluster.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        if check and result.returncode != 0:
            raise TrialError(f"`couplet {' '.join(words)}` ended with status {result.returncode}:\n{result.stdout}")
        return result.stdout

    def submit(self, *more):
        words = ["submit", "--run-dir", str(self.run), "--slurm.profile", str(self.arguments.profile)]
        if not (self.run / "config.ini").exists():
            words += ["--config", str(self.arguments.config)]
        text = self.command(*words, *self.keys, *more)
        with open(self.run / "submit.out", "a") as said:
            said.write(text)
        return text

    # The run's files

    def jobs(self):
        """stage -> the id of its last job."""
        try:
            lines = (self.run / "slurm" / "jobs.jsonl").read_text().splitlines()
        except OSError:
            return {}
        return {entry["stage"]: entry["job"] for entry in map(json.loads, lines)}

    def state(self, stage):
        try:
            return json.loads((self.run / stage / "stage.json").read_text())["state"]
        except (OSError, ValueError):
            return "none"

    def steps(self, stage):
        try:
            return (self.run / stage / "metrics.jsonl").read_bytes().count(b"\n")
        except OSError:
            return 0

    def trains(self, stage):
        """All its ranks are there, in the job that was submitted last, which is not being ended, and have begun to train."""
        job = self.jobs().get(stage)
        there = [restarts for _, name, where, restarts, _ in self.ranks() if (name, where) == (stage, job)]
        if len(there) != RANKS or self.queue().get(job, ("",))[0] != "RUNNING":
            return False
        first, _ = self.spans.get((stage, job, there[0]), (time.time(), 0))
        event = self.last_event(stage)
        # Events tell the second; the ranks were there before.
        return event.get("event") in ("start", "resume") and calendar.timegm(time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")) + 1 > first

    def last_event(self, stage):
        try:
            return json.loads((self.run / stage / "events.jsonl").read_text().splitlines()[-1])
        except (OSError, ValueError, IndexError):
            return {}

    def is_finished(self):
        return self.state("report") == "complete"

    # The queue

    def queue(self):
        """job or task -> (state, reason) of all that wait or run; None: Slurm did not answer."""
        text = self.cluster.ask("squeue", "-h", "-r", "-o", "%i|%T|%r|%N", check=False)
        rows = [line.split("|") for line in text.splitlines()]
        return {job: (state, reason, nodes) for job, state, reason, nodes in rows}

    def look(self):
        """Reports what changed, lets requeued jobs go on at once, and notes which ranks run."""
        if self.cluster.revive():
            say("slurmctld had crashed: started again")
        names = {job: stage for stage, job in self.jobs().items()}
        queue = self.queue()
        for job, (state, reason, nodes) in queue.items():
            name = names.get(job.split("_")[0])
            told = f"{state.lower()}{' on ' + nodes if nodes else ''}"
            if state == "PENDING" and reason == "BeginTime":
                told = "queued again"
                if time.monotonic() - self.waiting.setdefault(job, time.monotonic()) > RELEASE_SECONDS:
                    self.cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
            else:
                self.waiting.pop(job, None)
            if name and self.told.get(job) != told and state in ("RUNNING", "PENDING"):
                if state == "RUNNING" or told == "queued again":
                    say(f"{name} (job {job}): {told}")
                self.told[job] = told
        self.note_ranks()
        return queue

    def ranks(self):
        """[(pid, stage, job, restarts, node)] of the ranks of this run."""
        found = []
        run = str(self.run).encode()
        for pid in all_processes():
            if process_file(pid, "comm").strip() != b"couplet":
                continue
            words = process_file(pid, "cmdline").split(b"\0")
            if b"stage" not in words or run not in words:
                continue
            entries = dict(entry.split(b"=", 1) for entry in process_file(pid, "environ").split(b"\0") if b"=" in entry)
            value = lambda name: entries.get(name, b"0").decode()
            stage = words[words.index(b"stage") + 1].decode()
            if b"--couple.part" in words:
                stage += ":" + words[words.index(b"--couple.part") + 1].decode()
            found.append((pid, stage, value(b"SLURM_JOB_ID"), value(b"SLURM_RESTART_COUNT"), value(b"SLURMD_NODENAME")))
        return found

    def note_ranks(self):
        now = time.time()
        running = {}
        for _, stage, job, restarts, _ in self.ranks():
            running.setdefault(stage, set()).add((job, restarts))
        for stage, jobs in running.items():
            for job, restarts in jobs:
                first, _ = self.spans.get((stage, job, restarts), (now, now))
                self.spans[stage, job, restarts] = (first, now)
            if len(jobs) > 1:
                self.sightings[stage] = jobs

    # Waiting

    def wait(self, condition, seconds, what):
        """Until condition() holds; a run whose jobs are gone does not get there."""
        deadline = time.monotonic() + seconds
        while not condition():
            queue = self.look()
            if not queue and self.cluster.ask("scontrol", "ping", check=False).find("UP") >= 0 and not condition():
                raise TrialError(f"no job is left and {what} has not come:\n{self.command('status', str(self.run), check=False)}")
            if time.monotonic() > deadline:
                raise TrialError(f"{what} did not come within {seconds} s:\n{self.command('status', str(self.run), check=False)}")
            time.sleep(0.3)

    def wait_for_end(self, seconds):
        self.wait(self.is_finished, seconds, "the report")
        self.wait(lambda: not self.queue(), 60, "the end of the last job")

    # What is shown and checked at the end

    def show(self):
        print(self.command("status", str(self.run)), flush=True)
        # On a complete run this skips every stage, each in a line, and prints the scores.
        text = self.command("run", "--run-dir", str(self.run), "--ranks", str(RANKS))
        print(text[text.rindex(": skipped: ") :].partition("\n")[2].strip(), flush=True)

    def check_overlap(self, one, two):
        """Two stages that depend on nothing of each other ran at the same time."""
        spans = lambda stage: [span for (name, _, _), span in self.spans.items() if name == stage]
        seconds = sum(
            max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in spans(one) for b in spans(two)
        )
        if seconds <= 0:
            raise TrialError(f"{one} and {two} did not run side by side: {spans(one)} and {spans(two)}")
        say(f"{one} and {two} ran side by side for {seconds:.0f} s")

    def check_single(self):
        if self.sightings:
            raise TrialError(f"two jobs of one stage had ranks at the same moment: {self.sightings}")
        say("no stage was seen to run in two jobs at once")
