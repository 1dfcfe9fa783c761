#!/usr/bin/env python3
"""`couplet logs`: whose words stand where, over ranks, jobs, requeues and parts of the coupling table."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from program import check  # noqa: E402
from synthetic_run import SECONDS, Run, arguments_of, cut_source, write  # noqa: E402


def logs(run, *words, status=0):
    return run.command("logs", str(run.directory), *words, status=status)


def expect(text, *parts, without=()):
    """These parts, in this order."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        check(found >= 0, f"'{part}' is not at its place in\n{text}")
        place = found + len(part)
    for part in without:
        check(part not in text, f"'{part}' in\n{text}")


def ranks(run):
    """Rank 0 speaks into the log and, with everybody else, into the job's output."""
    run.begun("student/nf-0")
    said = ["student/nf-0: step 1/200, loss 3.0", "student/nf-0: step 2/200, loss 2.0"]
    run.log("student-nf-0.log", *said, age=20)
    run.log("slurm-student-nf-0-101.out", "2026-01-02 job 101 (student/nf-0): starts on n[1-2]", said[0],
            "student/nf-0: rank 1: warning: the loss of step 1 is not finite", said[1], "couplet: rank 3: out of memory",
            "srun: error: n2: task 3: Exited with exit code 1", age=10)
    run.log("slurm-student-nf-01-7.out", "of another stage")
    run.note("student-nf-0", 0, 3, step="step 2 of 200")
    text = logs(run, "student/nf-0")
    expect(text, f"==> {run.directory}/log/student-nf-0.log <==", *said, f"==> {run.directory}/log/slurm-student-nf-0-101.out <==",
           "job 101 (student/nf-0): starts on n[1-2]", "rank 1: warning", "couplet: rank 3: out of memory", "task 3: Exited",
           "student-nf-0: rank 0 (process 4711 on testhost) has been computing", "student-nf-0: rank 3", without=("another stage",))
    check(text.count(said[0]) == 1, f"rank 0's words are repeated:\n{text}")
    expect(logs(run, "student/nf-0", "--rank", "3"), "couplet: rank 3: out of memory", "srun: error: n2: task 3", "rank 3 (process 4711 on testhost)",
           "(step 2 of 200)", without=("rank 1", "loss", "starts on", "rank 0"))
    expect(logs(run, "student/nf-0", "--rank", "1"), "rank 1: warning", without=("out of memory", "rank 0"))
    expect(logs(run, "student/nf-0", "--rank", "0"), *said, "rank 0 (process", without=("rank 1", "rank 3"))
    expect(logs(run, "student/nf-0", "--rank", "9", status=1), "rank 9 of student/nf-0 has left neither a line nor a note")
    expect(logs(run, "student/nf-0", "--lines", "1"), said[1], "task 3: Exited", without=(said[0], "out of memory"))
    expect(logs(run, "student/xy-0", status=2), "no stage", "nearest is student/nf-0")
    # A resubmission's output is another file, the newest the last.
    run.log("slurm-student-nf-0-99.out", "of the job before", age=500)
    expect(logs(run, "student/nf-0"), "of the job before", "starts on n[1-2]")


def parts(run):
    run.begun("coupling/nf")
    run.log("coupling-nf-0.log", "coupling-nf-0: shard 1/3, 10 rows/s", age=30)
    run.log("coupling-nf-1.log", "coupling-nf-1: shard 2/3, 10 rows/s", age=20)
    run.log("slurm-coupling-nf-0-55.out", "coupling-nf-0: shard 1/3, 10 rows/s", "couplet: rank 1: bad row", age=5)
    run.note("coupling-nf-0", 1)
    text = logs(run, "couple")
    expect(text, "coupling-nf-0.log <==", "coupling-nf-1.log <==", "slurm-coupling-nf-0-55.out <==", "couplet: rank 1: bad row", "coupling-nf-0: rank 1 (process")
    check(text.count("coupling-nf-0: shard 1/3") == 1, text)


def choice(run):
    """Without a stage: the one that runs, else the one that stopped last."""
    expect(logs(run, status=1), "no stage has left a log yet")
    run.log("report.log", "report: complete in 3 s")
    run.begun("features")
    run.log("features.log", "features: step 3/9", "couplet: disk full", age=500)
    run.begun("teacher")
    run.log("teacher.log", "teacher: training stopped", age=50)
    expect(logs(run), "teacher: training stopped", without=("features", "report"))
    run.note("features", 0)  # a sign of life
    expect(logs(run), "features: step 3/9", without=("training stopped",))


def follow(run):
    """New lines, whole ones, of new jobs too, until Ctrl-C."""
    run.begun("teacher")
    run.log("teacher.log", "teacher: step 1/200")
    output = run.directory.parent / "followed"
    with output.open("w") as file:
        job = subprocess.Popen([run.couplet, "logs", str(run.directory), "teacher", "-f"], stdout=file, env=run.environment())

    def wait_for(part):
        end = time.monotonic() + SECONDS
        while part not in output.read_text():
            check(job.poll() is None and time.monotonic() < end, f"'{part}' did not come: {output.read_text()}")
            time.sleep(0.05)

    wait_for("step 1/200")
    log, requeued = run.directory / "log" / "teacher.log", run.directory / "log" / "slurm-teacher-8.out"
    with log.open("a") as file:
        file.write("teacher: step 2/200\nteacher: st")
    wait_for("step 2/200\n")
    requeued.write_text("job 8: queued again\n")
    wait_for("job 8: queued again")
    with log.open("a") as file:
        file.write("ep 3/200\n")
    wait_for("teacher: step 3/200\n")
    with requeued.open("a") as file:  # the same job after a requeue, in the same file
        file.write("job 8: starts again\n")
    wait_for("job 8: starts again")
    job.send_signal(signal.SIGINT)
    check(job.wait(SECONDS) == 0, f"-f ended with status {job.returncode}")
    text = output.read_text()
    check(text.count("step 1/200") == 1 and text.count("queued again") == 1, text)


def launched(arguments, run):
    """A rank's error where `couplet run` is the launcher."""
    directory = arguments.work / "launched"
    source = arguments.work / "bad-data"
    cut_source(source)
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run([run.couplet, "run", "--run-dir", str(directory), "--config", arguments.config, "--ranks", "2", "--prepare.source", str(source)],
                          capture_output=True, text=True, timeout=SECONDS, env=environment)
    check(done.returncode == 1, f"status {done.returncode}: {done.stderr}")
    failed = Run(run.couplet, run.note_writer, directory)
    expect(logs(failed), "prepare.log <==", "couplet: rank 0: ", "train-images-idx3-ubyte.gz", "prepare: rank 0", "prepare: rank 1")
    stage = failed.stages()["prepare"]
    check(stage["state"] == "failed" and "train-images-idx3-ubyte.gz" in stage["message"] and stage["log"].endswith("log/prepare.log"), stage)


def main():
    arguments = arguments_of(__doc__)
    base = Run.make(arguments, arguments.work / "base")
    for case in (ranks, parts, choice, follow):
        case(base.copy(case.__name__))
    launched(arguments, base)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
