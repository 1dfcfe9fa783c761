"""What tests of `couplet submit` and of the job script share: cases of their own, and the program's plans. Standard library only."""

import argparse
import functools
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from program import check
from synthetic_run import Run

SECONDS = 60  # within which whatever is started here ends


def install(directory, **programs):
    for name, text in programs.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)


class Cases:
    def __init__(self, arguments):
        self.arguments = arguments
        self.couplet, self.config, self.work = arguments.couplet, arguments.config, arguments.work
        self.count = 0

    @functools.cached_property
    def base(self):
        """A run all of whose stages are complete."""
        return Run.make(self.arguments, self.work / "base")

    def directory(self):
        self.count += 1
        return self.work / f"case-{self.count}"

    def submit(self, directory, *words, path="/does/not/exist", status=0, config=True, **variables):
        command = [self.couplet, "submit", "--run-dir", str(directory), *(["--config", self.config] if config else []), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS,
                              env=dict(os.environ, PATH=path, RUN=str(directory), **variables))
        check(done.returncode == status, f"{words}: status {done.returncode}, expected {status}: {done.stdout[-2000:]}{done.stderr}")
        return done.stdout if status == 0 else done.stderr


def scripts(plan):
    """Each script that a dry run printed, by its file's name."""
    parts = re.split(r"^==> (.*) <==\n", plan, flags=re.M)
    return {Path(name).stem: text for name, text in zip(parts[1::2], parts[2::2])}


def calls(directory, program):
    path = directory / f"{program}.calls"
    return path.read_text().splitlines() if path.exists() else []


def run_cases(description, cases_of_this_test):
    """A test's program: all cases, or those that --only names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--score-writer", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    cases = Cases(arguments)
    for case in cases_of_this_test:
        if arguments.only and case.__name__ not in arguments.only:
            continue
        start = time.monotonic()
        case(cases)
        print(f"{case.__name__}: ok, {time.monotonic() - start:.1f} s", flush=True)
