#!/usr/bin/env python3
"""`couplet status` on run directories of every kind, with stand-ins for Slurm's commands, without them, and with ones that misbehave."""

import json
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import check  # noqa: E402
from synthetic_run import GRAPH, JOB_END_TIME, LONG_AGO, SECONDS, Run, Slurm, arguments_of, write  # noqa: E402


def expect(stage, state, *parts, log=None):
    """The stage's state, and words of its message."""
    check(stage["state"] == state, f"{stage['stage']} is {stage['state']}, expected {state}: {stage}")
    for part in parts:
        check(part in stage["message"], f"'{part}' is not in what is said of {stage['stage']}: {stage['message']}")
    if log:
        check(stage["log"].endswith(log), f"{stage['stage']}: its log is {stage['log']}, expected {log}")


def expect_line(table, stage, *parts):
    """The stage's line of the table has these words in this order."""
    lines = [line for line in table.splitlines() if line.split(" ")[0] == stage]
    check(len(lines) == 1, f"{len(lines)} lines of {stage} in\n{table}")
    place = 0
    for part in parts:
        place = lines[0].find(part, place)
        check(place >= 0, f"'{part}' is not at its place in the line of {stage}:\n{lines[0]}")


class Cases:
    def __init__(self, arguments):
        self.arguments = arguments
        self.base = Run.make(arguments, arguments.work / "base")
        self.count = 0

    def run(self, *unfinished, programs=("sbatch", "squeue", "sacct")):
        """A copy in which these stages have never begun, with stand-ins of its own."""
        self.count += 1
        slurm = Slurm(self.arguments.work / f"slurm-{self.count}", programs) if programs else None
        run = self.base.copy(f"run-{self.count}", slurm)
        run.forget(*unfinished)
        return run


def without_slurm(cases):
    run = cases.run("student/nf-0", "evaluate/nf-0", "report", programs=())
    run.begun("student/independent-0")
    run.log("student-independent-0.log", "student/independent-0: step 100/200, loss 0.5", "student/independent-0: training stopped")
    run.begun("evaluate/independent-0")
    run.log("evaluate-independent-0.log", "evaluate/independent-0: plan", "couplet: rank 1: bad shard 3")
    run.failure("evaluate-independent-0", "rank 1: bad shard 3", 1, "evaluate/independent-0")
    stages = run.stages()
    check(list(stages) == GRAPH, f"stages {list(stages)}")
    expect(stages["teacher"], "complete")
    expect(stages["student/nf-0"], "not started")
    expect(stages["student/independent-0"], "interrupted", "training stopped")
    expect(stages["evaluate/independent-0"], "failed", "rank 1: bad shard 3", log="evaluate-independent-0.log")
    check(run.status()["slurm"] is None, "a run that was never submitted has nothing to ask Slurm")
    table = run.table()
    check("7 of 12 stages complete, 1 failed, 1 interrupted, 3 not started" in table, table)
    check("Slurm" not in table, table)
    check("    rank 1: bad shard 3\n    log: " in table, table)
    # A failure counts for the attempt that it ended, whatever the log says; one of another stage of the kind does not.
    run.failure("student", "rank 0: disk full", stage="student/nf-0")
    expect(run.stages()["student/independent-0"], "interrupted", "training stopped")
    run.failure("student", "rank 0: disk full", stage="student/independent-0")
    expect(run.stages()["student/independent-0"], "failed", "rank 0: disk full")
    run.begun("student/independent-0")
    run.log("student-independent-0.log", "couplet: of the attempt before")
    expect(run.stages()["student/independent-0"], "interrupted", "couplet: of the attempt before")
    # Where a submitted run is looked at from a machine without Slurm.
    run.submitted("student/nf-0", "12")
    table = run.table()
    check("Without Slurm, from the run directory alone: Slurm is not installed here\n" in table, table)
    expect(run.stages()["student/nf-0"], "submitted", "job 12 was submitted 2h 0")
    check("no run directory" in run.command("status", str(run.directory / "none"), status=2), "no run directory")


def queue(cases):
    """What waits, and for what."""
    run = cases.run("teacher", "coupling/nf", "student/nf-0", "student/independent-0")
    for stage, job, after in (("teacher", "10", ()), ("coupling/nf", "11", ("10",)), ("student/nf-0", "12", ("11",)), ("student/independent-0", "13", ("11",))):
        run.submitted(stage, job, after)
    run.slurm.queue({"job": "10", "state": "PENDING", "reason": "Resources", "start": "2099-01-02T03:04:05"},
                    {"job": "11", "state": "PENDING", "reason": "Dependency"},
                    {"job": "12", "state": "PENDING", "reason": "DependencyNeverSatisfied"},
                    {"job": "13", "state": "PENDING", "reason": "BeginTime", "restarts": 2})
    run.slurm_file("student-independent-0.requeues", "2")
    run.job_end("student-independent-0", "requeued", "stopped before the time limit; queued again (2 of 20)")
    stages = run.stages()
    expect(stages["teacher"], "pending", "waits for Resources, expected to start at 2099-01-02 03:04")
    expect(stages["coupling/nf"], "pending", "waits for teacher")
    expect(stages["student/nf-0"], "blocked", "job 12 can never start")
    expect(stages["student/independent-0"], "requeued", "BeginTime", f"{JOB_END_TIME}: stopped before the time limit; queued again (2 of 20)")
    check(stages["student/independent-0"]["job"]["requeues"] == 2, stages["student/independent-0"])
    asked = run.slurm.calls("squeue")[0]
    check("--jobs=10,11,12,13" in asked.replace("13,10,11,12", "10,11,12,13") or all(job in asked for job in ("10", "11", "12", "13")), asked)
    # A complete stage is complete, whatever the queue says; then nobody is asked.
    done = cases.run()
    done.submitted("teacher", "10")
    done.slurm.queue({"job": "10", "state": "RUNNING"})
    expect(done.stages()["teacher"], "complete")
    check(not done.slurm.calls("squeue"), "a complete run needs no squeue")


def running(cases):
    run = cases.run("report")
    run.begun("teacher", attempts=3, ranks=2)
    run.metrics("teacher", 50, seconds=0.5)
    run.checkpoint("teacher", 40, age=125)
    run.log("teacher.log", "teacher: step 50/200, loss 1.5")
    run.submitted("teacher", "20")
    run.slurm_file("teacher.requeues", "1")
    run.slurm_file("teacher.retries", "1")
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 250))
    run.slurm.queue({"job": "20", "state": "RUNNING", "nodes": "n[1-2]", "start": start, "restarts": 1})
    run.note("teacher", 0, 1)
    stage = run.stages()["teacher"]
    expect(stage, "running", "step 50/200, loss 1.5")
    check((stage["done"], stage["total"], stage["unit"]) == (50, 200, "steps"), stage)
    check(abs(stage["rate"] - 2) < 1e-6 and abs(stage["remaining"] - 75) < 1e-6, stage)
    check(125 <= stage["saved_ago"] < 425 and stage["attempts"] == 3, stage)
    check(stage["job"]["nodes"] == "n[1-2]" and stage["job"]["queue"][0]["restarts"] == 1, stage)
    table = run.table()
    expect_line(table, "teacher", "running", "50/200 steps", "2.0/s", "1m 15s", "ago", "3 1q 1r", "20", "n[1-2]")
    check("    step 50/200, loss 1.5\n" in table, table)
    # Without an answer of Slurm, the ranks' signs of life say the same.
    run.slurm.answer("squeue", "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", 1)
    expect(run.stages()["teacher"], "running")
    check("Unable to contact slurm controller" in run.table(), run.table())
    # The notes of killed ranks of this host are not believed, however fresh.
    run.note("teacher", 0, 1, host=socket.gethostname(), process=2**22 + 1)
    expect(run.stages()["teacher"], "submitted", "last sign of life")


def stuck(cases):
    run = cases.run("report")
    run.begun("teacher")
    run.metrics("teacher", 50, seconds=2)
    run.submitted("teacher", "20")
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 2 * LONG_AGO))
    run.slurm.queue({"job": "20", "state": "RUNNING", "nodes": "n1", "start": start})
    run.note("teacher", 0, state="waiting", seconds=190, what="all_reduce of Float [12]")
    run.note("teacher", 1, age=LONG_AGO, step="step 31 of 400")
    expect(run.stages()["teacher"], "stuck", "rank 1 (process 4711 on testhost) has given no sign of life for 2h 0", "computing (step 31 of 400)")
    # All alive, one has computed for much longer than a step takes.
    run.note("teacher", 1, seconds=LONG_AGO, step="step 32 of 400")
    expect(run.stages()["teacher"], "stuck", "rank 1 (process 4711 on testhost) has been computing (step 32 of 400) for 2h 0")
    run.note("teacher", 0, state="waiting", seconds=10, what="all_reduce of Float [12]")
    run.note("teacher", 1, seconds=15)  # a step takes 2 s
    expect(run.stages()["teacher"], "running")
    # What one rank does alone may take its time.
    run.note("teacher", 0, state="waiting", seconds=500, what="barrier")
    run.note("teacher", 1, state="alone", seconds=500, what="hashing the teacher's weights")
    expect(run.stages()["teacher"], "running")
    run.note("teacher", 1, state="waiting", seconds=400, what="broadcast of Float [3]")
    expect(run.stages()["teacher"], "stuck", "all ranks wait", "rank 0", "barrier")
    check("stuck" in run.table() and "    all ranks wait" in run.table(), run.table())
    # Notes of the attempt before are none of this job's.
    started = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 20))
    run.slurm.queue({"job": "20", "state": "RUNNING", "nodes": "n1", "start": started})
    run.note("teacher", 0, 1, age=2 * LONG_AGO)
    expect(run.stages()["teacher"], "running", "job 20 starts its ranks")
    run.slurm.queue({"job": "20", "state": "RUNNING", "nodes": "n1", "start": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - LONG_AGO))})
    expect(run.stages()["teacher"], "stuck", "job 20 has run for 2h 0", "no rank has given a sign of life")


def ended(cases):
    """Jobs that squeue does not know any more."""
    run = cases.run("coupling/nf", "student/nf-0")
    run.begun("teacher")
    run.submitted("teacher", "30")
    run.submitted("coupling/nf", "31", after=("30",))
    run.submitted("student/nf-0", "32", after=("31",))
    run.log("slurm-teacher-30.out", "couplet: rank 1: runs/x/prepare/train/shard-00001-of-00006.h5: damaged")
    # Words decide nothing: neither those of the reason nor those of the log.
    reason = "failed with status 1: rank 1: shard-00001-of-00006.h5: damaged: cancelled; queued again (1 of 2)"
    run.job_end("teacher", "failed", reason)
    reason = f"{JOB_END_TIME}: {reason}"
    run.slurm.answer("squeue", "", "slurm_load_jobs error: Invalid job id specified\n", 1)
    stages = run.stages()
    expect(stages["teacher"], "failed", reason, log="slurm-teacher-30.out")
    expect(stages["coupling/nf"], "blocked", "job 31 can never start: teacher is failed")
    check(stages["coupling/nf"]["log"] == "", "a stage that has never run has no log")
    expect(stages["student/nf-0"], "blocked", "coupling/nf is blocked")
    check(run.status()["slurm"] is None, "an answer that a job is unknown is an answer")
    table = run.table()
    check("1 failed" in table and f"    {reason}\n    log: {run.directory / 'log' / 'slurm-teacher-30.out'}\n" in table, table)
    # Nothing says why: the node took the reason with it.
    (run.directory / "slurm" / "teacher.reason").unlink()
    expect(run.stages()["teacher"], "vanished", "job 30 is over", "nothing says why", log="slurm-teacher-30.out")
    # Slurm remembers for some minutes, sacct for longer; neither makes a stage complete.
    run.slurm.queue({"job": "30", "state": "OUT_OF_MEMORY"})
    expect(run.stages()["teacher"], "failed", "OUT_OF_MEMORY")
    run.slurm.queue()
    run.slurm.account(("30", "COMPLETED"))
    expect(run.stages()["teacher"], "vanished", "by Slurm's account COMPLETED", "the stage is not complete")
    run.slurm.account(("30", "NODE_FAIL"))
    expect(run.stages()["teacher"], "failed", "NODE_FAIL")
    run.slurm.account(("30", "CANCELLED by 1000"))
    expect(run.stages()["teacher"], "cancelled", "job 30 was cancelled")
    run.job_end("teacher", "cancelled", "by scancel (COMPLETING)")  # without a note before
    run.slurm.account()
    expect(run.stages()["teacher"], "cancelled", "by scancel (COMPLETING)")
    (run.directory / "slurm" / "teacher.reason").unlink()
    run.slurm.account(("30", "RUNNING"))  # it is behind
    expect(run.stages()["teacher"], "vanished")
    run.slurm_file("teacher.cancelled", "2026-01-02 cancelled by someone")
    for silent in (False, True):
        if silent:
            run.slurm.answer("squeue", "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", 1)
        stages = run.stages()
        expect(stages["teacher"], "cancelled", "2026-01-02 cancelled by someone")
        expect(stages["coupling/nf"], "blocked", "job 31 can never start: teacher is cancelled")
    # Another configuration than the one it was made with.
    config = run.directory / "config.ini"
    config.write_text(config.read_text().replace("\nblocks = 2", "\nblocks = 3"))
    stages = run.stages()
    expect(stages["teacher"], "stale", "--redo teacher")
    expect(stages["evaluate/teacher"], "stale")
    expect(stages["features"], "complete")


def asked_for_more(cases):
    """A stage whose result stands is not stale when more is asked of it, and its job is seen."""
    run = cases.run()
    config = run.directory / "config.ini"
    config.write_text(config.read_text().replace("\neuler-nfe = 1 2 4\n", "\neuler-nfe = 1 2 4 8\n"))
    stages = run.stages()
    for stage in ("evaluate/nf-0", "evaluate/independent-0"):
        expect(stages[stage], "incomplete", "scores are not there yet", "couplet run makes what is missing")
    expect(stages["evaluate/teacher"], "complete")
    expect(stages["report"], "incomplete", "what it shows has changed")
    check(", 3 incomplete" in run.table(), run.table())
    run.submitted("evaluate/nf-0", "50")
    run.slurm.queue({"job": "50", "state": "PENDING", "reason": "Resources"})
    expect(run.stages()["evaluate/nf-0"], "pending", "waits for Resources")
    run.slurm.queue()
    run.job_end("evaluate-nf-0", "failed", "rank 0: disk full")
    expect(run.stages()["evaluate/nf-0"], "failed", "disk full")


def misbehaving(cases):
    """A scheduler that does not answer costs seconds, not the table."""
    run = cases.run("coupling/nf", programs=("sbatch", "squeue"))  # no sacct
    run.begun("teacher")
    run.submitted("teacher", "40")
    run.submitted("coupling/nf", "41", after=("40",))
    run.slurm.hang("squeue")
    table = run.table()  # the stand-in would hang for longer than this test waits
    check("from the run directory alone: squeue has not answered within" in table, table)
    expect_line(table, "features", "complete")
    expect_line(table, "coupling/nf", "submitted")
    (run.directory.parent / run.slurm.directory / "squeue.hangs").unlink()
    run.job_end("teacher", "requeued", "stopped by SIGTERM")
    run.slurm.answer("squeue", "", "squeue: fatal: Could not establish a configuration source\n", 1)
    check("Could not establish a configuration source" in run.status()["slurm"], run.status()["slurm"])
    expect(run.stages()["teacher"], "requeued", "stopped by SIGTERM")
    # Lines that are no rows, such as a wrapper's greetings, are passed over.
    run.slurm.queue({"job": "40", "state": "PENDING", "reason": "Priority"})
    path = run.slurm.directory / "squeue.out"
    path.write_text("Welcome to the cluster!\n" + path.read_text())
    expect(run.stages()["teacher"], "requeued", "Priority")


def arrays(cases):
    run = cases.run()
    run.begun("coupling/nf")
    run.submitted("coupling/nf", "50", array=4)
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 2 * LONG_AGO))
    run.slurm.queue({"job": "50", "task": "1", "state": "RUNNING", "nodes": "n1", "start": start},
                    {"job": "50", "task": "2", "state": "RUNNING", "nodes": "n2", "start": start},
                    {"job": "50", "task": "3", "state": "PENDING", "reason": "JobArrayTaskLimit"})
    for task in (1, 2):
        run.note(f"coupling-nf-{task}", 0, 1, rate=0.5)  # by two ranks together
        run.log(f"coupling-nf-{task}.log", f"coupling-nf-{task}: shard 3/10, 123 rows/s, 5m 00s left")
    run.note("coupling-nf-0", 0, state="ended", rate=0.5)
    run.job_end("coupling-nf-0", "failed", "failed with status 1: bad rows")
    for shard in range(3):
        write(run.directory / "coupling/nf/train" / f"shard-{shard:05d}-of-00012.h5", "")
    stage = run.stages()["coupling/nf"]
    expect(stage, "running", "shard 3/10", "failed with status 1: bad rows")
    check(stage["job"]["tasks"] == 4 and len(stage["job"]["queue"]) == 3 and stage["job"]["nodes"] == "n1,n2", stage)
    check((stage["done"], stage["total"]) == (3, 12) and abs(stage["rate"] - 1) < 1e-6, stage)  # two tasks at work
    expect_line(run.table(), "coupling/nf", "3/12 shards", "1.0/s", "50_[0-3]", "n1,n2")
    # One task alone hangs.
    run.note("coupling-nf-2", 0, age=LONG_AGO, step="shard 7, row 250 of 1000")
    expect(run.stages()["coupling/nf"], "stuck", "no sign of life for 2h 0", "shard 7, row 250 of 1000")
    # Task 1 is over now: what its ranks noted last is nobody's trouble.
    run.slurm.queue({"job": "50", "task": "2", "state": "RUNNING", "nodes": "n2", "start": start})
    run.note("coupling-nf-1", 0, 1, age=LONG_AGO)
    run.note("coupling-nf-2", 0)
    expect(run.stages()["coupling/nf"], "running")


def large(cases):
    """Large runs are not read whole. (The time is printed, not judged: the machine is shared.)"""
    run = cases.run("student/nf-0")
    run.begun("coupling/nf")
    for directory, count in (("coupling/nf/train", 990), ("coupling/nf/test", 10)):
        for shard in range(count):
            write(run.directory / directory / f"shard-{shard:05d}-of-{count:05d}.h5", "")
    (run.directory / "coupling/nf/train" / "shard-00989-of-00990.h5").unlink()
    run.metrics("teacher", 40000)
    run.metrics("student/independent-0", 200)
    run.log("coupling-nf.log", *[f"coupling-nf: shard {shard}/1000, 2000 rows/s, 8m left" for shard in range(20000)])
    run.note("coupling-nf", *range(64), rate=2)
    run.submitted("coupling/nf", "60")
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - 2 * LONG_AGO))
    nodes = ",".join(f"node-in-rack-{rack}-[{rack}0-{rack}9]" for rack in range(30))
    run.slurm.queue({"job": "60", "state": "RUNNING", "nodes": nodes, "start": start})
    times = []
    for _ in range(3):
        begin = time.monotonic()
        stage = run.stages()["coupling/nf"]
        times.append(time.monotonic() - begin)
    print(f"status of 1,000 shards, 40,000 metrics lines and 64 ranks: {min(times):.2f} s", flush=True)
    check((stage["done"], stage["total"], stage["unit"]) == (999, 1000, "shards"), stage)
    check(abs(stage["rate"] - 2) < 1e-6 and abs(stage["remaining"] - 0.5) < 1e-6, stage)
    expect(stage, "running", "shard 19999/1000")
    check(stage["job"]["nodes"] == nodes, stage)
    table = run.table()
    check(max(map(len, table.splitlines())) <= 120, f"lines longer than 120 columns:\n{table}")
    expect_line(table, "coupling/nf", "running", "999/1000 shards", "2.0/s", "60", "node-in-rack-0-", "...")


def watch(cases):
    run = cases.run("student/nf-0")
    run.submitted("student/nf-0", "70")
    run.slurm.queue({"job": "70", "state": "PENDING", "reason": "Priority"})
    job = run.start("status", str(run.directory), "--watch", "--interval", "1")
    output = ""
    while output.count("11 of 12 stages complete, 1 pending") < 2:
        line = job.stdout.readline()
        check(line, f"--watch ended while a job waits: {output}")
        output += line
    job.send_signal(signal.SIGINT)
    output += job.stdout.read()
    check(job.wait(SECONDS) == 0, f"status {job.returncode}: {output}")
    check("\033" not in output, "no terminal, nothing to clear")
    # It ends by itself when the last job has gone.
    job = run.start("status", str(run.directory), "--watch", "--interval", "1", "--json")
    lines = [job.stdout.readline()]
    run.slurm.queue()
    lines += job.stdout.readlines()
    states = [{stage["stage"]: stage["state"] for stage in json.loads(line)["stages"]}["student/nf-0"] for line in lines]
    check(job.wait(SECONDS) == 0 and states[0] == "pending" and states[-1] == "vanished", f"status {job.returncode}: {states}")
    complete = cases.run()
    check("12 of 12 stages complete" in complete.command("status", str(complete.directory), "--watch"), "a complete run has nothing to watch")


def main():
    arguments = arguments_of(__doc__)
    cases = Cases(arguments)
    for case in (without_slurm, queue, running, stuck, ended, asked_for_more, misbehaving, arrays, large, watch):
        start = time.monotonic()
        case(cases)
        print(f"{case.__name__}: {time.monotonic() - start:.1f} s", flush=True)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
