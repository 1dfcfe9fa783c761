#!/usr/bin/env python3
"""The job script: what it decides when its launcher, a stand-in, ends in each of the ways that a launcher can end, and what it starts it with."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import check  # noqa: E402
from submission_cases import SECONDS, calls, install, run_cases, scripts  # noqa: E402

PRESENT = "JobId=7 JobName=x JobState={} Reason={} Dependency=(null) Requeue=1 Restarts={} PreemptTime={} NodeList=n1\n"

# In the place of srun and mpirun: notes its words, then does what the test says.
LAUNCHER = """#!/bin/bash
echo "$*" >> "$STAND_INS/launches"
while (( $# )); do [[ $1 == --end-note ]] && note=$2; shift; done
. "$STAND_INS/behaviour"
"""
SCONTROL = """#!/bin/bash
echo "$*" >> "$STAND_INS/scontrol.calls"
[[ $1 == requeue ]] || cat "$STAND_INS/job"
"""


class Job:
    """One job's script, and what stands round it."""

    def __init__(self, cases, *words, stage="features"):
        self.directory = cases.directory()
        self.run, self.stage, self.name = self.directory / "run", stage, stage.replace("/", "-")
        for path in (self.run / "slurm", self.run / "log"):
            path.mkdir(parents=True)
        install(self.directory, srun=LAUNCHER, mpirun=LAUNCHER, scontrol=SCONTROL)
        self.script = self.directory / "job.sh"
        self.script.write_text(scripts(cases.submit(self.run, "--dry-run", *words))[self.name])
        self.present()

    def present(self, state="RUNNING", reason="None", restarts=0, preempted="None"):
        """What Slurm says of the job."""
        (self.directory / "job").write_text(PRESENT.format(state, reason, restarts, preempted))

    def start(self, behaviour, **variables):
        (self.directory / "behaviour").write_text(behaviour + "\n")
        environment = dict(os.environ, PATH=f"{self.directory}:{os.environ['PATH']}", STAND_INS=str(self.directory), SLURM_JOB_ID="7",
                           SLURM_JOB_NODELIST="n1", **variables)
        log = open(self.run / "log" / f"slurm-{self.name}-7.out", "a")
        return subprocess.Popen(["bash", str(self.script)], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def finish(self, behaviour, status, **variables):
        self.expect_end(self.start(behaviour, **variables), status)

    def expect_end(self, process, status):
        try:
            found = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            check(False, f"the script did not end: {self.said()}")
        check(found == status, f"the script's status is {found}, expected {status}: {self.said()}")

    def said(self):
        return "".join(path.read_text(errors="replace") for path in (self.run / "log").iterdir())

    def expect(self, requeues, state, *reason, name="features", target="7"):
        """How often Slurm was asked to queue it again in all, the state that the script left (None: none), and words of its reason."""
        asked = [words for words in calls(self.directory, "scontrol") if words.startswith("requeue")]
        check(asked == [f"requeue {target}"] * requeues, f"{asked}, expected {requeues} requeues: {self.said()}")
        path = self.run / "slurm" / f"{name}.reason"
        check(path.exists() == (state is not None), f"{path}: expected {state}: {self.said()}")
        if state is None:
            return
        text = path.read_text(errors="replace")
        check(text.count("\n") == 1 and text.endswith("\n"), f"not one line: {text!r}")
        end = json.loads(text)
        check(list(end) == ["time", "stage", "state", "reason", "log"] and abs(end["time"] - time.time()) < 2 * SECONDS, end)
        check((end["stage"], end["state"]) == (self.stage, state), f"expected {state}: {end}")
        check(end["log"] == str(self.run / "log" / f"slurm-{name}-{target.split('_')[0]}.out"), end)
        for part in reason:
            check(part in end["reason"], f"{part!r} is not in the reason: {end['reason']!r}")

    def number(self, name):
        path = self.run / "slurm" / name
        return int(path.read_text()) if path.exists() else 0

    def wait_for(self, path):
        deadline = time.monotonic() + SECONDS
        while not path.exists():
            check(time.monotonic() < deadline, f"{path} did not appear: {self.said()}")
            time.sleep(0.02)


def noted(**fields):
    """A command that notes an event as a rank does (pipeline/process/end_note.h)."""
    return f"echo {shlex.quote(json.dumps(fields, separators=(',', ':'), ensure_ascii=False))} >> \"$note\""


USR1, TERM = (noted(event="signal", signal=signal) for signal in ("USR1", "TERM"))
AGAIN = noted(event="again", signal="USR1")


def failed(message):
    return noted(event="failed", rank=1, host="n1", message=message)


DONE = noted(event="done") + "; exit 0"
LIMIT = f"{USR1}; {USR1}; exit 75"
FAILURE = failed("rank 1: shard 3 is damaged") + f"; {TERM}; exit 1"


def time_limit(cases):
    job = Job(cases, "--slurm.max-requeues", "2")
    job.finish(LIMIT, 75)
    job.expect(1, "requeued", "saved and stopped before its time limit", "1 of 2")
    job.finish(LIMIT, 75)
    job.finish(LIMIT, 75)
    job.expect(2, "failed", "not queued again: slurm.max-requeues = 2")
    check((job.number("features.requeues"), job.number("features.retries")) == (2, 0), "requeues are not counted apart")
    job.finish(DONE, 0)
    job.expect(2, None)
    launched = (job.directory / "launches").read_text().splitlines()[0]
    check(f"stage features --run-dir {job.run} --end-note" in launched and launched.startswith("--mpi=pmix"), launched)

    off = Job(cases, "--slurm.max-requeues", "0")
    off.finish(LIMIT, 75)
    off.expect(0, "failed", "slurm.max-requeues = 0")


def failures(cases):
    job = Job(cases, "--slurm.max-retries", "2")
    for count in (1, 2):
        job.finish(FAILURE, 1)
        job.expect(count, "retried", "failed with status 1: rank 1: shard 3 is damaged", f"{count} of 2")
    job.finish(FAILURE, 1)
    job.expect(2, "failed", "rank 1: shard 3 is damaged", "not queued again: slurm.max-retries = 2")
    check((job.number("features.requeues"), job.number("features.retries")) == (0, 2), "retries are not counted apart")

    refused = Job(cases)
    refused.finish(failed("teacher.batch does not divide") + "; exit 2", 2)
    refused.expect(0, "refused", "teacher.batch does not divide")
    # A rank that was killed says nothing, and the launcher ends the others by SIGTERM: no preemption.
    killed = Job(cases)
    killed.finish(f'{TERM}; echo "srun: error: n1: task 1: Killed"; exit 137', 137)
    killed.expect(1, "retried", "failed with status 137", "task 1: Killed")
    check(killed.number("features.retries") == 1, "a killed rank is not counted as a failure")
    # What an earlier start said is no reason of this one.
    killed.finish("exit 3", 3)
    killed.expect(2, "retried", "failed with status 3: the launcher said nothing")


def launcher_words(cases):
    """The reason why a launcher did not start any rank, which Open MPI puts between lines of dashes."""
    dashes = "-" * 74
    said = [dashes, "There are not enough slots available in the system to satisfy the 4", "slots that were requested:", "", "  couplet", dashes,
            "mpirun: Forwarding signal 10 to job", "mpirun detected that one or more processes exited with non-zero status, thus causing"]
    job = Job(cases, "--slurm.launcher", "mpirun")
    job.finish(f"printf '%s\\n' {shlex.join(said)}; exit 1", 1)
    job.expect(1, "retried", "failed with status 1: There are not enough slots available in the system to satisfy the 4 slots that were requested: couplet;")


def environment_of_ranks(cases):
    """What srun would take for its options is gone; what the profile sets is there, and may stand in words that come after it."""
    seen = 'compgen -e | grep -E "^(SRUN_|SLURM_MEM)" | sort | tr "\\n" " " > "$STAND_INS/seen"; '
    job = Job(cases, "--slurm.memory", "4G", "--slurm.setup", "export MINE=/scratch/7 SRUN_CPU_BIND=none", "--slurm.scratch", "$MINE")
    job.finish(seen + DONE, 0, SLURM_MEM_PER_NODE="4096", SLURM_MEM_PER_CPU="100", SRUN_CPUS_PER_TASK="3")
    check((job.directory / "seen").read_text().split() == ["SLURM_MEM_PER_NODE", "SRUN_CPU_BIND"], (job.directory / "seen").read_text())
    check("--storage.cache-dir /scratch/7/couplet-cache" in (job.directory / "launches").read_text(), "scratch was read before the setup")
    job = Job(cases, "--slurm.scratch", "$COUPLET_NOT_SET")
    job.finish(seen + DONE, 0, SLURM_MEM_PER_CPU="100")
    check((job.directory / "seen").read_text().split() == ["SLURM_MEM_PER_CPU"], "what Slurm has set is gone")
    check("slurm.scratch names nothing on this node" in job.said(), job.said())
    check("--storage.cache-dir" not in (job.directory / "launches").read_text(), "a cache without a place")


def odd_characters(cases):
    """Whatever a message holds, the reason is one JSON object, and status tells it as it was."""
    words = 'rank 1: "größe" \\n is \\ & $(false) \'x\' 100 % `a` }\t{"event":"done"}'
    job = Job(cases)
    job.finish(failed(words + "\nsecond\x07line") + "; exit 1", 1)
    job.expect(1, "retried", f"failed with status 1: {words}\nsecond line; queued again (1 of 2")
    # A launcher's words may not even be UTF-8.
    job.finish("printf 'srun: error: \\377 \\\\ \"n1\"\\n'; exit 4", 4)
    job.expect(2, "retried", 'failed with status 4: srun: error: \ufffd \\ "n1"; queued again (2 of 2')


def cancelled(cases):
    marked = Job(cases)
    marked.finish(f'echo x > "{marked.run}/slurm/features.cancelled"; ' + LIMIT, 75)
    marked.expect(0, "cancelled", "cancelled")
    before = len(calls(marked.directory, "scontrol"))
    marked.finish(LIMIT, 1)  # queued again by somebody else: it does not even start
    check(len((marked.directory / "launches").read_text().splitlines()) == 1, "a cancelled job started")
    check(len(calls(marked.directory, "scontrol")) == before, "a cancelled job asked Slurm")
    for behaviour, status in ((LIMIT, 75), (f"{TERM}; exit 75", 75), (FAILURE, 1)):
        plain = Job(cases, "--slurm.cluster-requeues", "false")
        plain.present("COMPLETING")  # as Slurm says while a job that scancel ended still runs its script
        plain.finish(behaviour, status)
        plain.expect(0, "cancelled", "cancelled by scancel")
    twice = Job(cases)
    twice.finish(f"{USR1}; {AGAIN}; exit 138", 138)
    twice.expect(0, "stopped", "asked to stop twice")


def preemption(cases):
    there = Job(cases, "--slurm.cluster-requeues", "false")
    there.finish(f"{TERM}; exit 75", 75)
    there.expect(1, "requeued", "stopped by SIGTERM")
    check(there.number("features.requeues") == 1, "a preemption is not counted")
    elsewhere = Job(cases)
    elsewhere.finish(f"{TERM}; exit 75", 75)
    elsewhere.expect(0, "stopped", "without being preempted")
    # The cluster requeues it when the grace time is over: the script is not to end before.
    waits = Job(cases)
    waits.present(preempted="2026-01-01T00:00:00")
    process = waits.start(f"{TERM}; exit 75")
    waits.wait_for(waits.run / "slurm" / "features.reason")
    time.sleep(1)
    check(process.poll() is None, "the script ended before the cluster requeued it, which fails the job")
    waits.present("COMPLETING", restarts=1)
    waits.expect_end(process, 75)
    waits.expect(0, "requeued", "preempted")


def signals(cases):
    """mpirun: Slurm signals the script, which hands it on and waits for the launcher's own end."""
    ready = f'stop() {{ {USR1}; sleep 1; exit 75; }}; trap stop USR1; touch "$STAND_INS/ready"; while :; do sleep 0.1; done'
    job = Job(cases, "--slurm.launcher", "mpirun")
    process = job.start(ready)
    job.wait_for(job.directory / "ready")
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGUSR1)
    job.expect_end(process, 75)
    job.expect(1, "requeued", "saved and stopped before its time limit")

    term = Job(cases, "--slurm.launcher", "mpirun", "--slurm.cluster-requeues", "false")
    process = term.start(ready)
    term.wait_for(term.directory / "ready")
    process.send_signal(signal.SIGTERM)
    term.expect_end(process, 75)
    term.expect(1, "requeued", "stopped by SIGTERM")

    twice = Job(cases, "--slurm.launcher", "mpirun")
    slow = f'stop() {{ {USR1}; (( ++n > 1 )) && exit 138; }}; trap stop USR1; touch "$STAND_INS/ready"; while :; do sleep 0.1; done'
    process = twice.start(slow)
    twice.wait_for(twice.directory / "ready")
    process.send_signal(signal.SIGUSR1)
    time.sleep(2.5)
    process.send_signal(signal.SIGUSR1)
    twice.expect_end(process, 138)
    twice.expect(0, "stopped", "asked to stop twice")


def arrays(cases):
    """A task has a name, files and a requeue of its own: `scontrol requeue 9` would be the whole array's."""
    job = Job(cases, "--couple.array", "4", stage="coupling/nf")
    check("#SBATCH --array=0-3" in job.script.read_text(), "no array")
    job.finish(LIMIT, 75, SLURM_ARRAY_JOB_ID="9", SLURM_ARRAY_TASK_ID="3")
    job.expect(1, "requeued", "saved and stopped", name="coupling-nf-3", target="9_3")
    check("--couple.part 3/4" in (job.directory / "launches").read_text(), "not its part of the shards")
    check(job.number("coupling-nf-3.requeues") == 1, "the task's requeues are not counted")


if __name__ == "__main__":
    run_cases(__doc__, (time_limit, failures, launcher_words, environment_of_ranks, odd_characters, cancelled, preemption, signals, arrays))
