"""Ways to disturb a stage that trains in a Slurm job. Each returns when the job's ranks are gone, and says what it did."""

import math
import os
import signal
import time

from cluster import NODES, is_alive, is_pending, kill
from trial import TrialError, say

BOOT_SECONDS = 5
GONE_SECONDS = 150  # Slurm looks at time limits every 30 s, and counts a node as dead after SlurmdTimeout


class Disturber:
    def __init__(self, trial, rng):
        self.trial = trial
        self.cluster = trial.cluster
        self.rng = rng
        self.cancelled = {}  # job -> its restarts when it was cancelled
        self.kinds = {
            "time limit": self.time_limit,
            "SIGTERM": self.sigterm,
            "requeue": self.requeue,
            "rank SIGKILL": self.rank_kill,
            "scancel": self.scancel,
            "node": self.node,
            "preemption": self.preemption,
        }

    def disturb(self, kind, stage):
        """False if the stage ended before it was hit."""
        job = self.trial.jobs()[stage]
        hit = self.ranks(stage, job)
        if not hit:
            return False
        self.kinds[kind](stage, job)
        gone = lambda: not set(hit) & {pid for pid, *_ in self.trial.ranks()}
        self.trial.wait(gone, GONE_SECONDS, f"the end of {stage}'s ranks after {kind}")
        getattr(self, "after_" + kind.replace(" ", "_"), lambda stage, job: None)(stage, job)
        return self.trial.state(stage) != "complete"

    def ranks(self, stage, job):
        return [pid for pid, name, where, _, _ in self.trial.ranks() if (name, where) == (stage, job)]

    def restarts(self, job):
        return self.field(job, "Restarts")

    def field(self, job, name):
        words = self.cluster.ask("scontrol", "--oneliner", "show", "job", job).split()
        return next(word.split("=", 1)[1] for word in words if word.startswith(name + "="))

    def run_seconds(self, job):
        hours, minutes, seconds = map(int, self.field(job, "RunTime").split(":"))  # of less than a day
        return (hours * 60 + minutes) * 60 + seconds

    # Slurm's own signal before a time limit: the limit is brought near, and put back when the job waits again. Slurm may take half a
    # minute to notice, so the ranks are held at their step until its signal is there, however fast they are.

    def time_limit(self, stage, job):
        self.limit = self.field(job, "TimeLimit")
        held = self.ranks(stage, job)
        signalled = lambda: all(is_pending(pid, signal.SIGUSR1) or not is_alive(pid) for pid in held)
        kill(held, signal.SIGSTOP)
        try:
            # Limits are in minutes: the least that leaves half of one to save in.
            minutes = math.ceil((self.run_seconds(job) + 30) / 60)
            self.cluster.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
            self.trial.wait(signalled, GONE_SECONDS, f"Slurm's signal to {stage}")
        finally:
            kill(held, signal.SIGCONT)

    def after_time_limit(self, stage, job):
        def put_back():
            self.cluster.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={self.limit}", check=False)
            return self.field(job, "TimeLimit") == self.limit or self.trial.state(stage) == "complete"

        self.trial.wait(put_back, GONE_SECONDS, f"job {job}'s waiting in the queue again")  # refused while the job ends

    def sigterm(self, stage, job):
        self.trial.command("simulate-preempt", str(self.trial.run), stage, "--term")

    def requeue(self, stage, job):
        self.cluster.ask("scontrol", "requeue", job)

    def rank_kill(self, stage, job):
        os.kill(self.rng.choice(sorted(self.ranks(stage, job))), signal.SIGKILL)

    # A job of a partition that goes first takes both nodes.

    def preemption(self, stage, job):
        self.urgent = self.cluster.ask(
            "sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"
        )

    def after_preemption(self, stage, job):
        self.trial.wait(lambda: self.urgent not in self.trial.queue(), GONE_SECONDS, "the end of the urgent job")

    # Every second time by hand, otherwise with Couplet's own command. What Slurm knows of the job must not change after it.

    def scancel(self, stage, job):
        restarts = self.restarts(job)
        if len(self.cancelled) % 2 == 0:
            self.cluster.ask("scancel", job)
        else:
            self.trial.command("cancel", str(self.trial.run), stage)
        self.cancelled[job] = restarts

    def after_scancel(self, stage, job):
        self.trial.wait(lambda: job not in self.trial.queue(), GONE_SECONDS, f"the end of job {job} after it was cancelled")
        say(f"submitting again:\n{self.trial.submit('--replace').rstrip()}")

    def check_cancelled(self):
        queue = self.trial.queue()
        for job, restarts in self.cancelled.items():
            state = self.field(job, "JobState")
            if job in queue or state not in ("CANCELLED", "COMPLETED") or self.restarts(job) != restarts:
                raise TrialError(f"job {job} was cancelled, then queued again: {state}, {self.restarts(job)} restarts, {restarts} before")
        say(f"{len(self.cancelled)} jobs were cancelled and stayed so")

    # A node loses its power, and comes back when Slurm has noticed.

    def node(self, stage, job):
        nodes = sorted({node for _, name, where, _, node in self.trial.ranks() if (name, where) == (stage, job) and node in NODES})
        self.dead = self.rng.choice(nodes)
        self.cluster.kill_node(self.dead)

    def after_node(self, stage, job):
        down = lambda: self.cluster.ask("sinfo", "-h", "-n", self.dead, "-p", "main", "-o", "%t").startswith("down")
        self.trial.wait(down, GONE_SECONDS, f"Slurm's noticing that {self.dead} is dead")
        time.sleep(BOOT_SECONDS)
        self.cluster.start_node(self.dead)
        self.cluster.wait_for_nodes(("idle", "mix", "alloc", "comp"))
