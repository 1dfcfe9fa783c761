#!/usr/bin/env python3
"""`couplet submit` and `cancel` without a scheduler: plans, refusals, and what is told to stand-ins for Slurm's commands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import check  # noqa: E402
from submission_cases import SECONDS, calls, install, run_cases, scripts  # noqa: E402
from synthetic_run import GRAPH, Slurm  # noqa: E402

# Numbers jobs from 101 on; refuses the one whose script's name is in `refused`.
SBATCH = """#!/bin/bash
echo "$*" >> "$STAND_INS/sbatch.calls"
compgen -e | grep -E "^(SLURM|SBATCH|SRUN|SALLOC)" > "$STAND_INS/sbatch.environment"
if [[ -s $STAND_INS/refused && "${@: -1}" == */$(< "$STAND_INS/refused").sh ]]; then
  echo "sbatch: error: Batch job submission failed: Invalid qos specification" >&2
  exit 1
fi
echo $((100 + $(wc -l < "$STAND_INS/sbatch.calls")))
"""
# Cancelling takes the jobs away; the marks that must stand before it are noted.
SCANCEL = """#!/bin/bash
compgen -e | grep "^SCANCEL" > "$STAND_INS/scancel.environment"
echo "$* marks: $(cd "$RUN/slurm" && echo *.cancelled)" >> "$STAND_INS/scancel.calls"
: > "$STAND_INS/squeue.out"
"""


def rows(plan):
    """The plan's table: what stands behind each stage's name."""
    table = {}
    for line in plan.splitlines()[1:]:
        if not line.strip():
            break
        name, rest = line.split(None, 1)
        table[name] = rest
    return table


def dry_run(cases):
    directory = cases.directory()
    plan = cases.submit(directory, "--dry-run")
    check(not directory.exists(), f"a dry run made {directory}")
    check(list(rows(plan)) == GRAPH, f"the plan lists {list(rows(plan))}")
    check("coupling/nf" in rows(plan)["student/nf-0"] and "student/nf-0" not in rows(plan)["student/independent-0"],
          "students do not run side by side")
    check("device time" in plan and "student/nf-0" in plan.split("device time")[1], "no estimate")
    check("saturates first" in plan and "network-bandwidth=" in plan, "no model of what saturates first")
    model = json.loads(cases.submit(directory, "--dry-run", "--json", "--scaling", "2 8"))
    check([(point["stage"], point["ranks"]) for point in model] == [(name, ranks) for name in GRAPH for ranks in (2, 8)],
          "the model is not of the ranks that were asked for")
    on_cores = json.loads(cases.submit(directory, "--dry-run", "--json"))
    check(all(point["seconds"] is point["efficiency"] is None for point in on_cores), f"times of cores: {on_cores}")
    on_gpus = ("--dry-run", "--json", "--slurm.nodes", "4", "--slurm.tasks-per-node", "2", "--slurm.gpus-per-node", "2")
    of_profile, of_two, of_eight = (json.loads(cases.submit(directory, *on_gpus, *machine))
                                    for machine in ((), ("--machine", "gpus=2"), ("--machine", "gpus=8")))
    check(of_profile == of_two != of_eight, "nodes do not have as many GPUs as the profile has ranks a node")
    reduced = {point["ranks"]: point["collectives"]["start_all_reduce"] for point in model if point["stage"] == "teacher"}
    check(reduced[2]["calls"] == reduced[8]["calls"] > 0, f"each of the teacher's steps reduces as often on any ranks: {reduced}")
    for words, part in ((("--dry-run", "--machine", "gpu=4"), "network-bandwidth"), (("--dry-run", "--scaling", "8 x"), "--scaling"),
                        (("--dry-run", "--scaling", ""), "--scaling"),
                        (("--json",), "--dry-run")):
        said = cases.submit(directory, *words, status=2)
        check(part in said, f"{words}: {part} expected in: {said}")
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
    for line in ("#SBATCH --time=1-12", "#SBATCH --nodes=2", "#SBATCH --signal=USR1@120", f'#SBATCH --job-name="{directory.name}-student-nf-0"'):
        check(line in printed["student-nf-0"].splitlines(), f"no line {line} in the student's script")
    check("--kill-on-bad-exit=1 --nodes=2 --ntasks=4" in printed["student-nf-0"], "srun's words")

    for words, parts in (
        (("--slurm.partitoin", "gpu"), ("--slurm.partition",)),
        (("--slurm.time", "4h"), ("slurm.time", "4h", "HH:MM:SS")),
        (("--slurm.teacher.memory", "lots"), ("slurm.teacher.memory", "lots")),
        (("--slurm.nodes", "0"), ("slurm.nodes", "1 …")),
        (("--slurm.launcher", "mpiexec"), ("srun or mpirun",)),
        (("--slurm.sbatch", "--exclusive --no-requeue"), ("slurm.sbatch", "--no-requeue", "slurm.max-requeues = 0")),
        (("--slurm.sbatch", "--array=0-3"), ("--array", "couple.array")),
        (("--slurm.teacher.sbatch", "--exclusive -o x.out"), ("slurm.teacher.sbatch", "--output", "RUN/log")),
        (("--slurm.sbatch", "--mail-type=END --time 3"), ("--time", "slurm.time")),
        (("--slurm.time", "00:02:00"), ("slurm.signal-lead = 120", "slurm.time = 00:02:00", "prepare")),
        (("--slurm.student.tasks-per-node", "5"), ("student jobs of 1 nodes x 5 tasks", "student.batch = 48")),
    ):
        said = cases.submit(directory, "--dry-run", *words, status=2)
        check(all(part in said for part in parts), f"{words}: {parts} expected in: {said}")
    cases.submit(directory, "--dry-run", "--slurm.sbatch", "--mem-per-gpu=8G --nice=5")
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
    said = cases.submit(cases.work / os.fsdecode(b"gr\xfc"), "--dry-run", *source, status=2)
    check("gr\\xFC" in said and "no UTF-8" in said, said)

    for words, parts in ((("--teacher.init", str(cases.work)), ("teacher.init", str(cases.work), "a folder")),
                         (("--student.nf.init", str(cases.work)), ("student.nf.init", str(cases.work), "a folder")),
                         (("--prepare.source", str(cases.work), "--prepare.train-images", "base"), ("prepare.train-images", "base", "a folder")),
                         (("--prepare.source", "", "--prepare.format", "auto"), ("prepare.source is empty", "the folder or the file"))):
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

    def submit(*words, status=0, **variables):
        return cases.submit(run.directory, *source, *words, path=f"{directory}:{os.environ['PATH']}", status=status, STAND_INS=str(directory), **variables)

    return run, directory, submit


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


def variables_of_the_shell(cases):
    """Inside another job's allocation, and with defaults for sbatch: the jobs ask for what their scripts say."""
    run, stand_ins, submit = submitted_run(cases)
    theirs = {name: "3" for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_NTASKS", "SRUN_CPUS_PER_TASK", "SBATCH_TIMELIMIT", "SBATCH_NO_REQUEUE",
                                     "SBATCH_ARRAY_INX", "SALLOC_PARTITION")}
    submit(SLURM_CONF="/etc/slurm.conf", SLURM_CLUSTERS="c1", **theirs)
    check(sorted((stand_ins / "sbatch.environment").read_text().split()) == ["SLURM_CLUSTERS", "SLURM_CONF"], "sbatch sees what is another job's")
    run.slurm.queue({"job": "101", "state": "RUNNING", "nodes": "n1"})
    submit("--replace", SCANCEL_STATE="PENDING")
    check((stand_ins / "scancel.environment").read_text() == "", "scancel sees a user's filter, and would cancel other jobs than asked for")
    command = [cases.couplet, "submit", "--run-dir", str(cases.directory()), "--config", cases.config, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=dict(os.environ, SBATCH_ACCOUNT="me", SBATCH_QOS="long"))
    check("SBATCH_ACCOUNT" in done.stderr and "SBATCH_QOS" in done.stderr and "not used" in done.stderr, done.stderr)


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


if __name__ == "__main__":
    run_cases(__doc__, (dry_run, profiles, refused_paths, complete_stages, submission, variables_of_the_shell, half_way, cancel))
