#!/usr/bin/env python3
"""Couplet through a real Slurm: two nodes that slurm/local-cluster starts on this machine.

    chaos     slurm/demo to the end, then slurm/chaos against the run it left, with two preemptions
    failure   a stage fails on bad data; status tells, and submitted again it goes on; status, logs, cancel and --dry-run without slurmctld

Exit status 77 (skipped) where Slurm's daemons are not installed. Standard library only.
"""

import argparse
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TREE / "slurm"), str(TREE / "tests/launch")]

from cluster import ClusterError, missing_programs, wait_until  # noqa: E402
from program import check, fail  # noqa: E402
from trial import Trial, TrialError  # noqa: E402

SKIPPED = 77
SOURCE = Path("/usr/share/datasets/fashion-mnist")
STATUS_SECONDS = 15  # within which status answers when slurmctld does not


def expect_words(text, words, what):
    missing = [word for word in words if word not in text]
    check(not missing, f"{what} does not name {missing}:\n{text}")


# Undisturbed and disturbed


def test_chaos(arguments):
    demo, chaos = arguments.work / "demo", arguments.work / "chaos"
    # The stages that are hit are long enough to be, the others short.
    keys = ["--features.images", "4800", "--teacher.images", "14400", "--student.images", "14400", "--student.independent.images", "4800"]
    both = keys + ["--pipeline.threads", "1", "--pipeline.checkpoint-every", "20"]
    words = ["--couplet", arguments.couplet, "--config", arguments.config, "--keep"]
    run([TREE / "slurm/demo", *words, "--work", demo, "--", *both])
    disturb = ["--disturbances", "2", "--kinds", "time limit,SIGTERM", "--seed", "1", "--reference", demo / "run"]
    run([TREE / "slurm/chaos", *words, "--work", chaos, *disturb, "--", *keys])


def run(words):
    status = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL).returncode
    check(status == 0, f"{' '.join(map(str, words))} ended with status {status}")


# A failure and what is said of it


def copy_source(directory):
    directory.mkdir(parents=True)
    for path in SOURCE.iterdir():
        shutil.copy(path, directory / path.name)


def damage(directory):
    """The training images end in the middle. Returns the file."""
    path = next(path for path in sorted(directory.iterdir()) if "train-images" in path.name)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    half = data[: len(data) // 2]
    path.write_bytes(gzip.compress(half) if path.suffix == ".gz" else half)
    return path


def stage_status(trial, stage):
    stages = json.loads(trial.command("status", str(trial.run), "--json", check=False))["stages"]
    return next(entry for entry in stages if entry["stage"] == stage)


def test_failure(arguments):
    source = arguments.work / "source"
    copy_source(source)
    damaged = damage(source)
    arguments.profile = TREE / "slurm/local.ini"
    arguments.keys = ["--prepare.source", str(source), "--slurm.max-retries", "1"]
    trial = Trial(arguments)
    try:
        trial.start()
        fail_and_go_on(trial, damaged)
        cancel_for_good(trial)
        without_controller(trial)
    finally:
        trial.stop()
    left = [pid for pid in trial.cluster.job_processes()]
    check(not left, f"processes of the cluster are left: {left}")


def fail_and_go_on(trial, damaged):
    trial.submit()
    job = trial.jobs()["prepare"]
    gone = lambda: not any(state != "COMPLETING" for state, _, _ in trial.look().values())
    check(wait_until(gone, 120, 0.3), f"jobs of a failed run hang:\n{trial.queue()}")
    text = trial.command("status", str(trial.run), check=False)
    log = trial.run / "log" / f"slurm-prepare-{job}.out"
    expect_words(text, ["prepare", "failed", "rank 0", damaged.name, log.name], "status")
    entry = stage_status(trial, "prepare")
    check(entry["state"] == "failed", f"prepare's state is {entry}")
    check(damaged.name in trial.command("logs", str(trial.run), "prepare", check=False), "logs do not show the reason")
    check("queued again (1 of 1" in log.read_text(), f"it was not tried again once:\n{log.read_text()}")
    print("a failed stage ends its dependents, and status tells why", flush=True)

    shutil.copy(SOURCE / damaged.name, damaged)
    text = trial.submit()
    trial.wait(lambda: trial.state("prepare") == "complete", 120, "prepare, with good data")
    trial.wait(lambda: trial.steps("features") > 0, 120, "the first step of features")
    check("failed" not in trial.command("status", str(trial.run)), "status still tells of the old failure")
    print("fixed and submitted again it goes on", flush=True)


def cancel_for_good(trial):
    refused = subprocess.run(
        [str(trial.couplet), "submit", "--run-dir", str(trial.run)], env=os.environ | trial.cluster.environment(), capture_output=True, text=True
    )
    check(refused.returncode == 2, f"submitting beside running jobs ended with status {refused.returncode}: {refused.stdout}")
    expect_words(refused.stderr, ["features", "--replace"], "the refusal")
    jobs = trial.jobs().values()
    trial.command("cancel", str(trial.run))
    check(wait_until(lambda: not trial.queue(), 60, 0.3), f"after cancel jobs are left: {trial.queue()}")
    for job in jobs:
        words = trial.cluster.ask("scontrol", "--oneliner", "show", "job", job, check=False)
        check("JobState=CANCELLED" in words or "JobState=COMPLETED" in words, f"after cancel job {job} is {words}")
    check(not trial.ranks(), f"after cancel ranks are left: {trial.ranks()}")
    expect_words(trial.command("status", str(trial.run)), ["cancelled"], "status after cancel")
    print("cancelled, and nothing is queued again", flush=True)


def without_controller(trial):
    os.kill(trial.cluster.daemons()["slurmctld"], signal.SIGKILL)
    begin = time.monotonic()
    text = trial.command("status", str(trial.run))
    seconds = time.monotonic() - begin
    check(seconds < STATUS_SECONDS, f"without slurmctld status took {seconds:.1f} s")
    expect_words(text, ["prepare", "complete", "features"], "status without slurmctld")
    json.loads(trial.command("status", str(trial.run), "--json"))
    expect_words(trial.command("logs", str(trial.run), "features"), ["step"], "logs without slurmctld")
    plan = trial.command("submit", "--run-dir", str(trial.run), "--dry-run")
    expect_words(plan, ["features", "#SBATCH", "student/nf-0"], "submit --dry-run without slurmctld")
    words = [str(trial.couplet), "submit", "--run-dir", str(trial.run)]
    for words in (words, [str(trial.couplet), "cancel", str(trial.run)]):
        result = subprocess.run(words, env=os.environ | trial.cluster.environment(), capture_output=True, text=True, timeout=120)
        check(result.returncode == 1, f"{words[1]} without slurmctld: status {result.returncode}, {result.stdout}")
        expect_words(result.stderr.lower(), ["slurm"], f"{words[1]}'s error without slurmctld")
    print(f"without slurmctld: status after {seconds:.1f} s, logs, the plan; submit and cancel say why they can't", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("chaos", "failure"))
    parser.add_argument("--couplet", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="emptied first, removed on success")
    arguments = parser.parse_args()
    missing = missing_programs()
    if missing:
        print(f"SKIPPED: not installed: {', '.join(missing)}; `scripts/setup slurm` installs them")
        sys.exit(SKIPPED)
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    try:
        {"chaos": test_chaos, "failure": test_failure}[arguments.part](arguments)
    except (TrialError, ClusterError) as error:
        fail(f"{error}\nkept: {arguments.work}")
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
