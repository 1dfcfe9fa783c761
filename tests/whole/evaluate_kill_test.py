#!/usr/bin/env python3
"""Kills evaluations in the middle of a score and compares what they end with with an evaluation that was left alone.

Each kill comes while samples of a score are counted; the next start, on another number of ranks, must go on from them. At the end
records, results and pictures must be equal byte for byte, and nothing of the journal may be left. Standard library only.
"""

import argparse
import json
import math
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import fail  # noqa: E402

SECONDS = 500
# Whose evaluation is hit, and how.
KILLS = (("teacher", signal.SIGKILL), ("nf-0", signal.SIGTERM), ("nf-0", signal.SIGKILL), ("nf-0", signal.SIGINT), ("nf-0", signal.SIGKILL))
# Few weights and many slices: a score takes long enough to be hit.
KEYS = {
    "student.compare": "nf", "features.images": "4800", "teacher.images": "2400", "student.images": "2400",
    "prepare.train-rows": "1000", "prepare.test-rows": "500", "evaluate.samples": "300", "evaluate.sampling-seeds": "0 5", "evaluate.slice-rows": "10",
    "evaluate.euler-nfe": "2", "evaluate.heun-nfe": "3", "evaluate.midpoint-nfe": "4", "evaluate.rk4-nfe": "8",
    "evaluate.ancestral-nfe": "2", "evaluate.corrector-nfe": "4", "evaluate.tolerances": "0.1 0.001", "evaluate.tolerance-samples": "20",
    "evaluate.times": "0 0.1 0.4 1", "evaluate.dopri5": "true", "evaluate.atol": "1e-3", "evaluate.rtol": "1e-3",
    "evaluate.guidance": "1.5", "evaluate.guidance-from": "0.2", "evaluate.guidance-to": "0.9",
    "evaluate.likelihood-rows": "20", "pipeline.timeout": "120",
    "pipeline.threads": "1",  # the same on one rank and on two: training with other threads ends in other last bits
}


def command(arguments, run, ranks):
    words = [arguments.couplet, "run", "--config", arguments.config, "--run-dir", str(run), "--ranks", str(ranks)]
    return words + [word for key, value in KEYS.items() for word in (f"--{key}", *value.split(" "))]


def finish(arguments, run, ranks):
    done = subprocess.run(command(arguments, run, ranks), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode != 0:
        fail(f"status {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def journal_bytes(run, node):
    """Of the score under way; 0 where there is none."""
    try:
        return (run / "evaluate" / node / "score-under-way").stat().st_size
    except OSError:
        return 0


def told(run):
    """How often a start said that it goes on from samples already counted."""
    return sum(log.read_text().count("are there from an earlier attempt") for log in run.glob("log/evaluate-*.log"))


def kill_once(arguments, run, ranks, node, number):
    """Kills the run when a score's journal has grown twice; returns whether it was still running."""
    launcher = subprocess.Popen(command(arguments, run, ranks), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline, last, grown = time.monotonic() + SECONDS, journal_bytes(run, node), 0
    while launcher.poll() is None and grown < 3:
        if time.monotonic() > deadline:
            launcher.kill()
            fail(f"no score made progress within {SECONDS} s")
        size = journal_bytes(run, node)
        grown, last = grown + (size > last > 0), size
        time.sleep(0.005)
    if launcher.poll() is not None:
        return False
    launcher.send_signal(number)
    status = launcher.wait(120)
    expected = -signal.SIGKILL if number == signal.SIGKILL else 75
    if status not in (expected, 0):
        fail(f"after {number.name} the status is {status}, expected {expected}")
    return status != 0


def outcome(run):
    files = [path for path in (run / "evaluate").rglob("*") if path.is_file() and path.name not in ("stage.json", "lock", ".parts-lock")]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def check_records(run):
    """What the keys asked for is there."""
    records = json.loads((run / "evaluate" / "results.json").read_text())["records"]
    solvers = {record["solver"] for record in records if record["metric"] == "frechet_distance"}
    if not {"euler", "heun", "midpoint", "rk4", "dopri5", "ancestral", "corrector", "autoregressive"} <= solvers:
        fail(f"solvers {solvers}")
    of = lambda metric: [record for record in records if record["metric"] == metric and record["model"] == "student"]
    adaptive = next(record for record in of("frechet_distance") if record["solver"] == "dopri5")
    if not 8 <= adaptive["nfe_min"] <= adaptive["nfe_mean"] <= adaptive["nfe_max"] or abs(adaptive["nfe"] - adaptive["nfe_mean"]) > 0.5:
        fail(f"evaluations of dopri5: {adaptive}")
    if {record["nfe"] for record in of("frechet_distance") if record["grid"] == "0 0.1 0.4 1"} != {3, 5}:
        fail("times of the user's own: three steps are 3 evaluations of Euler, 5 of Heun")
    if any(record["guidance_interval"] != [0.2, 0.9] for record in of("frechet_distance")):
        fail("guidance_interval")
    errors = {record["rtol"]: record for record in of("solver_error")}
    if set(errors) != {0.1, 0.001} or not errors[0.1]["value"] > errors[0.001]["value"] > 0 or not 8 <= errors[0.1]["nfe"] <= errors[0.001]["nfe"]:
        fail(f"errors of dopri5: {errors}")
    (bits,) = of("bits_per_dim")
    if not (0 < bits["standard_error"] < 5 and math.isfinite(bits["value"]) and bits["samples"] == 20):
        fail(f"likelihood: {bits}")
    (straight,), (cost,), (mismatch,) = of("straightness"), of("transport_cost"), of("prior_mismatch")
    if not 0 < straight["value"] <= 1 or cost["value"] <= 0:
        fail(f"paths: {straight} {cost}")
    scores = {record.get("sampling_seed", "table"): record["value"] for record in of("frechet_distance") if (record["solver"], record["nfe"], record["grid"]) == ("euler", 2, "uniform")}
    if set(scores) != {"table", 0, 5} or scores[0] == scores[5]:
        fail(f"scores by sampling seed: {scores}")
    if abs(mismatch["value"] - (scores[0] - scores["table"])) > 1e-9:
        fail(f"prior mismatch {mismatch} of {scores}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for both runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    plain, killed = arguments.work / "plain", arguments.work / "killed"
    finish(arguments, plain, 2)
    check_records(plain)
    shutil.copytree(plain, killed)
    shutil.rmtree(killed / "evaluate")
    shutil.rmtree(killed / "report")
    for log in killed.glob("log/evaluate-*.log"):
        log.unlink()

    hits = sum(kill_once(arguments, killed, 1 + index % 2, *kill) for index, kill in enumerate(KILLS))
    # What a kill within the publication of results leaves, in the folders that all nodes share.
    dead = subprocess.Popen(["true"])
    dead.wait()
    for folder in ("evaluate", "evaluate/pictures"):
        (killed / folder / f".partial-{socket.gethostname()}-{dead.pid}-1-results.json").write_text("{")
    finish(arguments, killed, 2)
    if hits < 3 or told(killed) < 2:
        fail(f"{hits} kills in the middle of a score, {told(killed)} starts that went on from one")
    one, two = outcome(plain), outcome(killed)
    if set(one) != set(two) or any("score-under-way" in name for name in one):
        fail(f"files of one evaluation only: {sorted(set(one) ^ set(two))}; all: {sorted(one)}")
    if different := [name for name in one if one[name] != two[name]]:
        fail(f"files that differ: {different}")
    shutil.rmtree(arguments.work)
    print(f"{hits} kills; {len(one)} files are equal byte for byte", flush=True)


if __name__ == "__main__":
    main()
