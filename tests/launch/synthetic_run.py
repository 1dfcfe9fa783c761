"""Run directories as a long run would have left them, made in a second, and stand-ins for Slurm's commands."""

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from program import check

SEPARATOR = "\x1f"
SECONDS = 200  # for one command: the machine may be busy
LONG_AGO = 7200  # seconds; told as "2h 0" for some minutes
JOB_END_TIME = "2026-01-02 03:04"
GRAPH = ["prepare", "features", "evaluate/real", "teacher", "coupling/nf", "evaluate/table-nf", "evaluate/teacher", "student/nf-0", "evaluate/nf-0", "student/independent-0",
         "evaluate/independent-0", "report"]
DATA = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]


def write(path, text, age=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (time.time() - age,) * 2)


def cut_source(folder):
    """Data that can be opened, as its labels are whole and its images begin well, and ends too early for the prepare stage."""
    shape = lambda *extents: bytes([0, 0, 8, len(extents)]) + b"".join(extent.to_bytes(4, "big") for extent in extents)
    for images, labels, count in ((*DATA[:2], 6000), (*DATA[2:], 1000)):
        write(folder / images, gzip.compress(shape(count, 28, 28) + random.Random(0).randbytes(20000)))
        write(folder / labels, shape(count) + bytes(row % 10 for row in range(count)))


class Slurm:
    """Programs that answer in the place of Slurm's, as files beside them say; `programs` that are not named are missing."""

    def __init__(self, directory, programs=("sbatch", "squeue", "sacct")):
        self.directory = directory
        directory.mkdir(parents=True)
        for program in programs:
            path = directory / program
            path.write_text(f"#!/bin/sh\necho \"$*\" >> {path}.calls\n[ -e {path}.hangs ] && exec /bin/sleep 600\n"
                            f"/bin/cat {path}.out\n/bin/cat {path}.err >&2\nexit $(/bin/cat {path}.status)\n")
            path.chmod(0o755)
            self.answer(program)
        if "sacct" in programs:
            self.answer("sacct", "", "Slurm accounting storage is disabled\n", 1)

    def answer(self, program, output="", errors="", status=0):
        for name, text in (("out", output), ("err", errors), ("status", str(status))):
            (self.directory / f"{program}.{name}").write_text(text)

    def queue(self, *rows):
        """Rows of squeue; at least the job and its state."""
        default = {"task": "N/A", "reason": "None", "nodes": "", "start": "N/A", "left": "1:00:00", "restarts": 0}
        lines = []
        for row in rows:
            row = default | row
            lines.append(SEPARATOR.join(str(row[key]) for key in ("job", "task", "state", "reason", "nodes", "start", "left", "restarts")))
        self.answer("squeue", "".join(line + "\n" for line in lines))

    def account(self, *rows):
        """Rows of sacct: job, state."""
        self.answer("sacct", "".join(SEPARATOR.join((job, state)) + "\n" for job, state in rows))

    def hang(self, program):
        (self.directory / f"{program}.hangs").touch()

    def calls(self, program):
        path = self.directory / f"{program}.calls"
        return path.read_text().splitlines() if path.exists() else []


class Run:
    """A run directory of which all stages of the smoke preset are complete, to be changed at will."""

    def __init__(self, couplet, note_writer, directory, slurm=None):
        self.couplet, self.note_writer, self.directory, self.slurm = couplet, note_writer, directory, slurm

    @staticmethod
    def make(arguments, directory):
        """Each stage is begun, which leaves its record, and fails for want of data; then it is told that it is complete, and
        evaluations get a record of each score."""
        couplet = arguments.couplet
        run = Run(couplet, getattr(arguments, "note_writer", None), directory)
        source = directory.parent / "no-data"
        cut_source(source)
        for stage in GRAPH:
            done = subprocess.run([couplet, "stage", stage, "--run-dir", str(directory), "--config", arguments.config, "--prepare.source", str(source)],
                                  capture_output=True, text=True, timeout=SECONDS)
            check(done.returncode == 1, f"stage {stage} was to fail for want of data: status {done.returncode}: {done.stderr}")
            run.record(stage, state="complete", seconds=12, running_since=0)
        subprocess.run([arguments.score_writer, str(directory)], check=True, timeout=SECONDS)
        shutil.rmtree(directory / "log")
        return run

    def copy(self, name, slurm=None):
        directory = self.directory.parent / name
        shutil.copytree(self.directory, directory)
        return Run(self.couplet, self.note_writer, directory, slurm)

    def record(self, stage, **changes):
        path = self.directory / stage / "stage.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def forget(self, *stages):
        """These stages have never begun."""
        for stage in stages:
            for name in ("stage.json", "records.json", "made-of.txt", "report.html", "report.json"):
                (self.directory / stage / name).unlink(missing_ok=True)

    def begun(self, stage, **changes):
        self.record(stage, state="started", running_since=time.time() - 300, seconds=0, **changes)

    def log(self, name, *lines, age=0):
        write(self.directory / "log" / name, "".join(line + "\n" for line in lines), age)

    def metrics(self, stage, steps, seconds=0.1):
        lines = (json.dumps({"step": step, "loss": 1.5, "seconds": seconds, "digest": "0" * 16}) + "\n" for step in range(steps))
        write(self.directory / stage / "metrics.jsonl", "".join(lines))

    def checkpoint(self, stage, step, age):
        path = self.directory / stage / "checkpoints" / f"step-{step:08d}"
        path.mkdir(parents=True)
        os.utime(path, (time.time() - age,) * 2)

    def note(self, name, *ranks, age=-60, state="computing", seconds=1, what="", step="step 12 of 400", host="testhost", process=4711,
             rate=0):
        """What ranks noted `age` seconds ago. By default by a clock that is ahead: still new after a minute on a busy machine."""
        lines = "".join("\t".join(map(str, (name, rank, age, state, seconds, what, step, host, process, rate))) + "\n" for rank in ranks)
        subprocess.run([self.note_writer, str(self.directory / "log" / "ranks")], input=lines, text=True, check=True, timeout=SECONDS)

    def failure(self, name, message, rank=0, stage=""):
        """What a rank that failed leaves, of a job whose ranks note what they do as `name`."""
        fields = {"time": time.time(), "stage": stage, "rank": rank, "host": "testhost", "message": message}
        write(self.directory / "log" / "ranks" / f"{name}.failure", json.dumps(fields) + "\n")

    def submitted(self, stage, job, after=(), array=None):
        flat = stage.replace("/", "-")
        pattern = f"slurm-{flat}-%a-%A.out" if array else f"slurm-{flat}-%j.out"
        path = self.directory / "slurm" / "jobs.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps({"time": time.time() - LONG_AGO, "stage": stage, "job": job, "array": array, "script": "", "submission": 1,
                                   "output": str(self.directory / "log" / pattern), "after": list(after)}) + "\n")

    def job_end(self, name, state, reason, log=""):
        """Why a job stopped, as its script leaves it: at a time that status tells as JOB_END_TIME."""
        fields = {"time": int(time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))), "stage": name, "state": state, "reason": reason, "log": log}
        self.slurm_file(f"{name}.reason", json.dumps(fields))

    def slurm_file(self, name, text):
        write(self.directory / "slurm" / name, text + "\n")

    def environment(self):
        """Only stand-ins on PATH, or nothing."""
        path = str(self.slurm.directory) if self.slurm else "/does/not/exist"
        return dict(os.environ, PATH=path)

    def start(self, *words):
        return subprocess.Popen([self.couplet, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment())

    def command(self, *words, status=0):
        job = self.start(*words)
        output, errors = job.communicate(timeout=SECONDS)
        check(job.returncode == status, f"{words}: status {job.returncode}, expected {status}: {output}{errors}")
        return output if status == 0 else errors

    def status(self):
        return json.loads(self.command("status", str(self.directory), "--json"))

    def table(self):
        return self.command("status", str(self.directory))

    def stages(self):
        return {stage["stage"]: stage for stage in self.status()["stages"]}


def arguments_of(description):
    """Of a test of synthetic runs; its directory is there, and empty."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True, help="the smoke preset")
    parser.add_argument("--note-writer", required=True)
    parser.add_argument("--score-writer", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    return arguments
