"""A run directory with data and teacher, and jobs that make its coupling table. Standard library only."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from program import check

JOB_SECONDS = 120
ROWS = 100  # of a shard


class Run:
    """A run directory with data and teacher, and the jobs that make its table."""

    def __init__(self, arguments, name, base=None, shards=(12, 2), images=960):
        """`shards`: of training and held-out images; `images`: that the teacher is trained on."""
        self.directory = arguments.work / name
        self.couplet = arguments.couplet
        self.keys = ["--run-dir", str(self.directory)]
        if base:
            shutil.copytree(base.directory, self.directory)
        else:
            self.keys += ["--config", arguments.config, "--prepare.train-rows", str(shards[0] * ROWS), "--prepare.test-rows", str(shards[1] * ROWS)]
            self.keys += ["--teacher.images", str(images), "--teacher.warmup", "2"]
            self.keys += ["--couple.shard-rows", str(ROWS), "--couple.block-rows", str(ROWS), "--couple.slice-rows", str(ROWS // 2)]
            for stage in ("prepare", "teacher"):
                status, output = self.wait(self.start(stage))
                check(status == 0, f"stage {stage} ended with status {status}: {output}")

    @property
    def table(self):
        """Training rows in train/, held-out rows in test/."""
        return self.directory / "coupling" / "nf"

    def start(self, stage, *words, ranks=1, kill=None, environment=None):
        """A job in a process group of its own; `kill`: NAME:POINT of the publication to die in."""
        threads = "2" if ranks == 1 else "1"
        command = [self.couplet, "stage", stage, *self.keys, "--pipeline.threads", threads, *words]
        if ranks > 1:
            command = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] + command
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", **(environment or {}))
        if kill:
            environment["COUPLET_TEST_KILL_IN_PUBLISH"] = kill
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
                                text=True, start_new_session=True)

    def wait(self, job):
        try:
            output, _ = job.communicate(timeout=JOB_SECONDS)
        except subprocess.TimeoutExpired:
            kill_tree(job)
            check(False, f"{job.args} did not end within {JOB_SECONDS} s")
        return job.returncode, output

    def couple(self, *words, ranks=1, kill=None):
        return self.wait(self.start("couple", *words, ranks=ranks, kill=kill))

    def command(self, name, *words):
        done = subprocess.run([self.couplet, name, *words], capture_output=True, text=True, timeout=JOB_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def clear(self):
        shutil.rmtree(self.table)

    def shards(self):
        return {str(path.relative_to(self.table)): path for path in sorted(self.table.rglob("shard-*.h5"))}


def kill_tree(job):
    """The job, mpirun and all ranks at once: mpirun gives each rank a group of its own."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(int(entry.name))
    tree = [job.pid]
    for pid in tree:
        tree += children.get(pid, [])
    for pid in tree:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
