#!/usr/bin/env python3
"""What the stages of a run ask of files and of each other, counted, against the model of docs/scaling.md.

loads_test.py --couplet PROGRAM --config INI --work DIR [--ranks "1 2"] [--table] [-- KEYS]

A run is made on each number of ranks. What its ranks counted (RUN/log/STAGE.traffic.json) is compared with what
`couplet submit --dry-run --json` says of the same stages on as many ranks: within 15 %, or a small number. --table prints
the ratios as the table of docs/scaling.md.
Standard library only.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import fail  # noqa: E402

TOLERANCE = 0.15
# Half of the smoke preset's rows, and half of its batches: enough steps that what is done once a stage does not count for
# more than what each step does.
SIZES = {"--prepare.train-rows": 3000, "--prepare.test-rows": 500, "--features.images": 4800, "--features.batch": 48,
         "--teacher.images": 4800, "--teacher.batch": 24, "--student.images": 4800, "--student.batch": 24,
         "--evaluate.samples": 250, "--evaluate.slice-rows": 50, "--evaluate.pairwise-images": 0,
         "--evaluate.curvature-samples": 0, "--evaluate.pairing-rows": 0, "--evaluate.gap-rows": 500}
REDUCTIONS = ("start_all_reduce", "start_reduce_scatter")
# Figures, by name: how they are taken from counts or model, and the difference that never matters.
FIGURES = {
    # The calls of collectives by a rank, the bytes of sums of gradients, of all collectives; of files, by all ranks.
    "calls": (lambda said: sum(one["calls"] for one in said["collectives"].values()), 30),
    "reduced": (lambda said: sum(said["collectives"].get(name, {"bytes": 0})["bytes"] for name in REDUCTIONS), 0),
    "given": (lambda said: sum(one["bytes"] for one in said["collectives"].values()), 50e3),
    "read": (lambda said: total(said, "bytes_read"), 100e3),
    "written": (lambda said: total(said, "bytes_written"), 100e3),
    "opens": (lambda said: total(said, "opens"), 5),
}
# What the model leaves out: sources of images, which it cannot know; the slices in which noise is measured; the report.
LEFT_OUT = {("prepare", "read"), ("evaluate/table-nf", "calls"), ("evaluate/table-nf", "written"),
            ("evaluate/table-nf", "opens")}
UNMODELLED = ("report",)


def total(said, name):
    """A count has the sum over the ranks and more; the model has the sum."""
    return said[name]["all"] if isinstance(said[name], dict) else said[name]


def called(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def counted_and_modelled(arguments, ranks):
    """Of each stage: what was counted, and what the model says."""
    directory = arguments.work / str(ranks)
    keys = [str(word) for key, value in SIZES.items() if key not in arguments.keys for word in (key, value)] + arguments.keys
    where = ["--config", arguments.config, "--run-dir", directory, *keys]
    called([arguments.couplet, "run", *where, "--ranks", ranks, "--pipeline.threads", 1])
    model = json.loads(called([arguments.couplet, "submit", *where, "--dry-run", "--json", "--slurm.tasks-per-node", ranks]))
    stages = {}
    for said in model:
        if said["stage"] in UNMODELLED:
            continue
        counts = directory / "log" / (said["stage"].replace("/", "-") + ".traffic.json")
        if not counts.exists():
            fail(f"{counts}: the stage left no counts")
        stages[said["stage"]] = (json.loads(counts.read_text()), said)
    return stages


def main():
    parser = argparse.ArgumentParser()
    for name in ("--couplet", "--config", "--work"):
        parser.add_argument(name, required=True, type=Path)
    parser.add_argument("--ranks", default="1 2")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("keys", nargs="*")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    wrong, lines = [], []
    for ranks in map(int, arguments.ranks.split()):
        for stage, (counts, model) in counted_and_modelled(arguments, ranks).items():
            cells = []
            for name, (figure, small) in FIGURES.items():
                counted, modelled = figure(counts), figure(model)
                modelled_here = counted > small and (stage, name) not in LEFT_OUT
                cells.append(f"{modelled / counted:.2f}" if modelled_here else "–")
                if (stage, name) not in LEFT_OUT and abs(modelled - counted) > max(TOLERANCE * counted, small):
                    wrong.append(f"{stage} on {ranks} ranks, {name}: {counted:.6g} were counted, the model says {modelled:.6g}")
            lines.append(f"| {stage} | {ranks} | {' | '.join(cells)} |")
    if arguments.table:
        print(f"| stage | ranks | {' | '.join(FIGURES)} |\n|---|---|{'---|' * len(FIGURES)}")
        print("\n".join(lines))
    if wrong:
        fail("\n".join(wrong))


if __name__ == "__main__":
    main()
