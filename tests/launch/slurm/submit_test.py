#!/usr/bin/env python3
"""`couplet submit`, `cancel` and the job script, without a scheduler: plans and refusals, what is told to stand-ins for Slurm's commands,
and what the script decides when its launcher, a stand-in too, ends in each of the ways that a launcher can end."""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import check  # noqa: E402
from synthetic_run import GRAPH, Run, Slurm  # noqa: E402

SECONDS = 60  # within which whatever is started here ends
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
# Numbers jobs from 101 on; refuses the one whose script's name is in `refused`.
SBATCH = """#!/bin/bash
echo "$*" >> "$STAND_INS/sbatch.calls"
if [[ -s $STAND_INS/refused && "${@: -1}" == */$(< "$STAND_INS/refused").sh ]]; then
  echo "sbatch: error: Batch job submission failed: Invalid qos specification" >&2
  exit 1
fi
echo $((100 + $(wc -l < "$STAND_INS/sbatch.calls")))
"""
# Cancelling takes the jobs away; the marks that must stand before it are noted.
SCANCEL = """#!/bin/bash
echo "$* marks: $(cd "$RUN/slurm" && echo *.cancelled)" >> "$STAND_INS/scancel.calls"
: > "$STAND_INS/squeue.out"
"""


def install(directory, **programs):
    for name, text in programs.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)


class Cases:
    def __init__(self, arguments):
        self.couplet, self.config, self.work = arguments.couplet, arguments.config, arguments.work
        self.base = Run.make(arguments, self.work / "base")
        self.count = 0

    def directory(self):
        self.count += 1
        return self.work / f"case-{self.count}"

    def submit(self, directory, *words, path="/does/not/exist", status=0, config=True, **variables):
        command = [self.couplet, "submit", "--run-dir", str(directory), *(["--config", self.config] if config else []), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS,
                              env=dict(os.environ, PATH=path, RUN=str(directory), **variables))
        check(done.returncode == status, f"{words}: status {done.returncode}, expected {status}: {done.stdout[-2000:]}{done.stderr}")
        return done.stdout if status == 0 else done.stderr


def rows(plan):
    """The plan's table: what stands behind each stage's name."""
    table = {}
    for line in plan.splitlines()[1:]:
        if not line.strip():
            break
        name, rest = line.split(None, 1)
        table[name] = rest
    return table


def scripts(plan):
    """Each script that a dry run printed, by its file's name."""
    parts = re.split(r"^==> (.*) <==\n", plan, flags=re.M)
    return {Path(name).stem: text for name, text in zip(parts[1::2], parts[2::2])}


def dry_run(cases):
    directory = cases.directory()
    plan = cases.submit(directory, "--dry-run")
    check(not directory.exists(), f"a dry run made {directory}")
    check(list(rows(plan)) == GRAPH, f"the plan lists {list(rows(plan))}")
    check("coupling/nf" in rows(plan)["student/nf-0"] and "student/nf-0" not in rows(plan)["student/independent-0"],
          "students do not run side by side")
    check("device time" in plan and "student/nf-0" in plan.split("device time")[1], "no estimate")
    printed = scripts(plan)
    check(sorted(printed) == sorted(name.replace("/", "-") for name in GRAPH), f"scripts of {sorted(printed)}")
    for name, text in printed.items():
        check(not re.search(r"@[A-Z_]+@", text), f"a placeholder is left in {name}")
        checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, timeout=SECONDS)
        check(checked.returncode == 0, f"{name} is no bash script: {checked.stderr}")


def profiles(cases):
    directory, profile = cases.directory(), cases.work / "profile.ini"
    profile.write_text("[slurm]\npartition = gpu\nlauncher = mpirun\ntasks-per-node = 2\ntime = 4:00:00\ngpus-per-node = a100:2\n"
                       "environment = NCCL_DEBUG=WARN OUT=$TMPDIR\nmodules = openmpi hdf5\ncontainer = apptainer exec --nv x.sif\n"
                       "[slurm.student]\ntime = 1-12\nnodes = 3\nlauncher = srun\n")
    words = ("--dry-run", "--slurm.profile", str(profile), "--slurm.student.nodes", "2", "--slurm.sbatch", "--exclusive")
    printed = scripts(cases.submit(directory, *words))
    for line in ("#SBATCH --partition=gpu", "#SBATCH --time=4:00:00", "#SBATCH --nodes=1", "#SBATCH --ntasks-per-node=2", "#SBATCH --exclusive",
                 "#SBATCH --gpus-per-node=a100:2", "#SBATCH --signal=B:USR1@120", 'export OUT="$TMPDIR"', "modules=(openmpi hdf5)"):
        check(line in printed["teacher"].splitlines(), f"no line {line} in the teacher's script:\n{printed['teacher'][:3000]}")
    check("launch=(mpirun " in printed["teacher"] and "-x NCCL_DEBUG" in printed["teacher"], "mpirun's words")
    check("program=(apptainer exec --nv x.sif '" in printed["teacher"], "the container")
    for line in ("#SBATCH --time=1-12", "#SBATCH --nodes=2", "#SBATCH --signal=USR1@120"):
        check(line in printed["student-nf-0"].splitlines(), f"no line {line} in the student's script")
    check("--kill-on-bad-exit=1 --nodes=2 --ntasks=4" in printed["student-nf-0"], "srun's words")

    for words, parts in (
        (("--slurm.partitoin", "gpu"), ("--slurm.partition",)),
        (("--slurm.time", "4h"), ("slurm.time", "4h", "HH:MM:SS")),
        (("--slurm.teacher.memory", "lots"), ("slurm.teacher.memory", "lots")),
        (("--slurm.nodes", "0"), ("slurm.nodes", "1 …")),
        (("--slurm.launcher", "mpiexec"), ("srun or mpirun",)),
        (("--slurm.time", "00:02:00"), ("slurm.signal-lead = 120", "slurm.time = 00:02:00", "prepare")),
        (("--slurm.student.tasks-per-node", "5"), ("student jobs of 1 nodes x 5 tasks", "student.batch = 48")),
    ):
        said = cases.submit(directory, "--dry-run", *words, status=2)
        check(all(part in said for part in parts), f"{words}: {parts} expected in: {said}")
    profile.write_text("[slurm.studnet]\ntime = 1:00:00\n")
    said = cases.submit(directory, "--dry-run", "--slurm.profile", str(profile), status=2)
    check("profile.ini:2" in said and "slurm.student.time" in said, said)


def refused_paths(cases):
    """What no script can name, or hashing cannot read, is refused before anything is deleted or made."""
    stand_ins = cases.directory()
    Slurm(stand_ins, ("squeue",))
    install(stand_ins, sbatch=SBATCH, scancel=SCANCEL)
    run = cases.base.copy("it's 100 %")
    source = ("--prepare.source", str(cases.work / "no-data"))
    path = f"{stand_ins}:{os.environ['PATH']}"
    said = cases.submit(run.directory, *source, "--redo", "teacher", path=path, status=2, STAND_INS=str(stand_ins))
    check(str(run.directory) in said and "a job script cannot name" in said, said)
    check((run.directory / "teacher" / "stage.json").exists(), "the teacher was deleted before the refusal")
    check(not (run.directory / "slurm" / "profile.ini").exists(), "the refusal left a profile")
    new = cases.work / "$new"
    cases.submit(new, *source, path=path, status=2, STAND_INS=str(stand_ins))
    check(not new.exists(), f"the refusal left {new}")
    check(not calls(stand_ins, "sbatch"), "jobs were submitted")

    for words, parts in ((("--teacher.init", str(cases.work)), ("teacher.init", str(cases.work), "a folder")),
                         (("--student.nf.init", str(cases.work)), ("student.nf.init", str(cases.work), "a folder")),
                         (("--prepare.source", str(cases.work), "--prepare.train-images", "base"), ("prepare.train-images", "base", "a folder"))):
        said = cases.submit(cases.directory(), "--dry-run", *words, status=2)
        check(all(part in said for part in parts), f"{words}: {parts} expected in: {said}")


def complete_stages(cases):
    run = cases.base.copy("part")
    run.forget("student/nf-0", "evaluate/nf-0", "report")
    words = ("--dry-run", "--prepare.source", str(cases.work / "no-data"))
    plan = cases.submit(run.directory, *words)
    for name, rest in rows(plan).items():
        finished = name not in ("student/nf-0", "evaluate/nf-0", "report")
        check(("complete" in rest) == finished, f"{name}: {rest}")
    check(rows(plan)["report"].split()[-1] == "evaluate/nf-0", "the report waits for what is submitted only")
    plan = cases.submit(run.directory, *words, "--redo", "evaluate/independent-0")
    check("made again" in rows(plan)["evaluate/independent-0"], plan)


def submitted_run(cases):
    """A run whose student nf-0 and what depends on it are submitted to stand-ins."""
    directory = cases.directory()
    slurm = Slurm(directory, ("squeue",))
    install(directory, sbatch=SBATCH, scancel=SCANCEL)
    run = cases.base.copy(directory.name + "-run", slurm)
    run.forget("student/nf-0", "student/independent-0", "evaluate/nf-0", "evaluate/independent-0", "report")
    source = ("--prepare.source", str(cases.work / "no-data"))

    def submit(*words, status=0):
        return cases.submit(run.directory, *source, *words, path=f"{directory}:{os.environ['PATH']}", status=status, STAND_INS=str(directory))

    return run, directory, submit


def calls(directory, program):
    path = directory / f"{program}.calls"
    return path.read_text().splitlines() if path.exists() else []


def submission(cases):
    run, stand_ins, submit = submitted_run(cases)
    submit()
    chained = {words.split()[-1].rsplit("/", 1)[1]: words for words in calls(stand_ins, "sbatch")}
    check(list(chained) == ["student-nf-0.sh", "evaluate-nf-0.sh", "student-independent-0.sh", "evaluate-independent-0.sh", "report.sh"], chained)
    for name, after in (("student-nf-0.sh", None), ("evaluate-nf-0.sh", "101"), ("student-independent-0.sh", None),
                        ("evaluate-independent-0.sh", "103"), ("report.sh", "102:104")):
        check(("--dependency" in chained[name]) == bool(after), chained[name])
        check(not after or f"--dependency=afterok:{after} --kill-on-invalid-dep=yes" in chained[name], chained[name])
    jobs = [json.loads(line) for line in (run.directory / "slurm" / "jobs.jsonl").read_text().splitlines()]
    check([(job["stage"], job["job"]) for job in jobs][:2] == [("student/nf-0", "101"), ("evaluate/nf-0", "102")], jobs)
    check(jobs[4]["after"] == ["102", "104"] and jobs[4]["submission"] == 1, jobs[4])

    run.slurm.queue({"job": "101", "state": "RUNNING", "nodes": "n1"})
    said = submit(status=2)
    check("student/nf-0 (job 101, RUNNING on n1)" in said and "--replace" in said, said)
    check(len(calls(stand_ins, "sbatch")) == 5, "jobs were submitted beside those that run")
    run.slurm.answer("squeue", "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", 1)
    submit(status=1)  # nobody knows what runs
    check(len(calls(stand_ins, "sbatch")) == 5, "jobs were submitted although Slurm does not answer")

    run.slurm.queue({"job": "101", "state": "RUNNING", "nodes": "n1"})
    run.slurm_file("student-nf-0.requeues", "3")
    submit("--replace")
    check(calls(stand_ins, "scancel") == ["101 marks: student-nf-0.cancelled"], calls(stand_ins, "scancel"))
    check(len(calls(stand_ins, "sbatch")) == 10, "not submitted anew")
    check(not list((run.directory / "slurm").glob("*.cancelled")), "the new jobs are marked as cancelled")
    check(not (run.directory / "slurm" / "student-nf-0.requeues").exists(), "the new job counts the old one's requeues")


def half_way(cases):
    run, stand_ins, submit = submitted_run(cases)
    (stand_ins / "refused").write_text("student-independent-0")
    said = submit(status=1)
    check("student/independent-0" in said and "Invalid qos" in said and "2 jobs that were queued before it are cancelled" in said, said)
    cancelled = calls(stand_ins, "scancel")
    check(len(cancelled) == 1 and cancelled[0].startswith("101 102 marks: evaluate-nf-0.cancelled student-nf-0.cancelled"), cancelled)


def cancel(cases):
    run, stand_ins, submit = submitted_run(cases)
    submit()
    run.slurm.queue({"job": "101", "state": "RUNNING", "nodes": "n1"}, {"job": "103", "state": "RUNNING", "nodes": "n2"})

    def command(*words, status=0):
        done = subprocess.run([cases.couplet, *words], capture_output=True, text=True, timeout=SECONDS,
                              env=dict(os.environ, PATH=f"{stand_ins}:{os.environ['PATH']}", STAND_INS=str(stand_ins), RUN=str(run.directory)))
        check(done.returncode == status, f"{words}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    said = command("run", "--run-dir", str(run.directory), status=2)
    check("student/nf-0 (job 101, RUNNING on n1)" in said and f"couplet cancel {run.directory}" in said, said)
    check(not (run.directory / "student" / "nf-0" / "stage.json").exists(), "couplet run began what a job is to do")

    said = command("cancel", str(run.directory), "student/independent-0")
    check("student/independent-0 (job 103" in said and "job 101" not in said, said)
    check(calls(stand_ins, "scancel") == ["103 marks: student-independent-0.cancelled"], calls(stand_ins, "scancel"))
    check("no job" in command("cancel", str(run.directory)), "nothing was left to cancel")
    check("nearest" in command("cancel", str(run.directory), "studnet", status=2), "an unknown stage")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--score-writer", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    cases = Cases(arguments)
    for case in (dry_run, profiles, refused_paths, complete_stages, submission, half_way, cancel, time_limit, failures, odd_characters, cancelled,
                 preemption, signals, arrays):
        if arguments.only and case.__name__ not in arguments.only:
            continue
        start = time.monotonic()
        case(cases)
        print(f"{case.__name__}: ok, {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
