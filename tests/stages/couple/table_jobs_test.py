#!/usr/bin/env python3
"""Several jobs on one coupling table: none waits for another that it needs nothing of, none gives up on one that takes long, and
of a job's ranks one looks for what is missing."""

import argparse
import fcntl
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "launch"))
from program import check  # noqa: E402
from table_run import JOB_SECONDS, Run, kill_tree  # noqa: E402

IMAGES = (3, 2)  # by shards of rows, training and held out
SHARDS = 8  # training images are mirrored


def wait_until(reached, what, jobs):
    """All jobs are there until then."""
    end = time.monotonic() + JOB_SECONDS
    while not reached():
        ended = [job for job in jobs if job.poll() is not None]
        for job in ended:
            print(job.communicate()[0], flush=True)
        if ended or time.monotonic() > end:
            for job in jobs:
                kill_tree(job)
            check(False, f"not reached: {what}; {len(ended)} of {len(jobs)} jobs have ended")
        time.sleep(0.05)


def opened(notes, kind):
    """Paths that were opened ("open") or listed ("list"), by each process or rank."""
    found = {}
    for file in notes.parent.glob(notes.name + ".*"):
        lines = (line.split(" ", 1) for line in file.read_text().splitlines())
        found[int(file.suffix[1:])] = [Path(path) for word, path in lines if word == kind]
    return found


def parts(base, arguments):
    """Three jobs at once make their parts while a fourth holds the stage, as one does that closes the table; they end well when it has
    come to its end, however long that takes."""
    run = Run(arguments, "parts", base)
    status, output = run.couple("--couple.part", "0/4")
    check(status == 0 and "still missing" in output, f"the first part: status {status}: {output}")
    notes, ahead = arguments.work / "parts-notes", arguments.work / "parts-clock"
    environment = {"LD_PRELOAD": f"{arguments.opened_paths}:{arguments.clock_ahead}", "OPENED_BELOW": str(run.table), "OPENED_PATHS": str(notes),
                   "CLOCK_AHEAD": str(ahead)}
    with (run.table / "lock").open("a") as stage:
        fcntl.lockf(stage, fcntl.LOCK_EX)
        jobs = [run.start("coupling/nf", "--couple.part", f"{part}/4", environment=environment) for part in (1, 2, 3)]
        wait_until(lambda: len(run.shards()) == SHARDS, "all shards are there", jobs)
        asks = lambda: sum(run.table / "lock" in paths for paths in opened(notes, "open").values())
        wait_until(lambda: asks() == len(jobs), "all jobs wait for the stage", jobs)
        ahead.touch()
        wait_until(lambda: all(Path(f"{ahead}.{job.pid}").exists() for job in jobs), "all jobs wait on after two minutes", jobs)
        check(not (run.table / "train" / "manifest.json").exists(), "a job has closed the table that another held")
    ends = [run.wait(job) for job in jobs]
    for status, output in ends:
        check(status == 0 and "in use by" not in output, f"a part ended with status {status}: {output}")
    check(any(output.rstrip().endswith("complete") for _, output in ends), f"none closed the table: {ends}")
    status, output = run.couple()
    check(status == 0 and "skipped" in output, f"a table closed by its parts is not complete: {output}")


def ranks(base, arguments):
    """In a job of three ranks only rank 0 lists the table and opens shards that are there, and tells the others; and a job of several
    ranks ends, though rank 0 alone closes the table."""
    run = Run(arguments, "ranks", base)
    status, output = run.couple("--couple.shards", "1-3")
    check(status == 0, f"three shards: status {status}: {output}")
    there = set(run.shards().values())
    check(len(there) == 3, f"not three shards: {there}")
    notes = arguments.work / "ranks-notes"
    environment = {"LD_PRELOAD": str(arguments.opened_paths), "OPENED_BELOW": str(run.table), "OPENED_PATHS": str(notes)}
    # All but one: the table is not closed.
    status, output = run.wait(run.start("coupling/nf", "--couple.shards", f"0-{SHARDS - 2}", ranks=3, environment=environment))
    check(status == 0 and "4 of 7 shards are to be made" in output, f"the job of three ranks: status {status}: {output}")
    listed, opens = opened(notes, "list"), opened(notes, "open")
    for rank in (1, 2):
        check(opens.get(rank), f"rank {rank} has made nothing: {opens}")
        check(not listed[rank], f"rank {rank} lists what rank 0 tells it: {listed[rank]}")
        check(not there & set(opens[rank]), f"rank {rank} opens shards that are there: {opens[rank]}")
    check(there <= set(opens[0]), f"rank 0 has not looked at the shards that are there: {opens[0]}")
    check(len(run.shards()) == SHARDS - 1, f"shards: {sorted(run.shards())}")
    status, output = run.wait(run.start("coupling/nf", "--couple.part", "0/1", ranks=2))
    check(status == 0 and "complete" in output, f"the part that closes the table: status {status}: {output}")
    check((run.table / "test" / "manifest.json").exists(), "the table is not closed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True, help="the smoke preset")
    parser.add_argument("--opened-paths", required=True, help="library to preload")
    parser.add_argument("--clock-ahead", required=True, help="library to preload")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    arguments.work = arguments.work.resolve()
    base = Run(arguments, "base", shards=IMAGES, images=96)
    for case in (parts, ranks):
        start = time.monotonic()
        case(base, arguments)
        print(f"{case.__name__}: {time.monotonic() - start:.1f} s", flush=True)
    shutil.rmtree(arguments.work)


if __name__ == "__main__":
    main()
