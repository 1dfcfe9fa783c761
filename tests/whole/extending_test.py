#!/usr/bin/env python3
"""The examples of docs/extending.md, built into a program as the document says: a student of all of them at once is trained and scored,
the help lists them, and the program without them refuses them."""

import argparse
import json
import shutil
import struct
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "launch"))
from program import Program, check  # noqa: E402

MEMBERS = {"coupling": "antithetic", "path": "cosine", "objective": "image", "network": "linear_map"}
TINY = {"prepare.format": "discs", "prepare.name": "Discs", "prepare.train-rows": 600, "prepare.test-rows": 100, "prepare.shard-rows": 300, "prepare.block-rows": 50,
        "features.images": 480, "features.batch": 24, "features.dimension": 8, "student.images": 4800, "student.batch": 48,
        "student.learning-rate": 0.01, "couple.block-rows": 50, "evaluate.samples": 50, "evaluate.slice-rows": 25, "evaluate.euler-nfe": "1 4",
        "pipeline.device": "cpu", "pipeline.threads": 1, "pipeline.ranks": 2}


def flags(keys):
    return [word for key, value in keys.items() for word in (f"--{key}", *str(value).split())]


def weights_of(path):
    """Names of the tensors in a safetensors file."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return set(json.loads(file.read(size))) - {"__metadata__"}


def losses(path):
    return [line["test_loss"] for line in map(json.loads, path.read_text().splitlines()) if "test_loss" in line]


def check_help(program):
    options = program.works("config")
    for kind, name in {**MEMBERS, "image source": "discs"}.items():
        check(f"#   {name}: " in options, f"the help does not list the {kind} {name}")


def check_training(program, config, run):
    mine = {f"student.mine.{kind}": name for kind, name in MEMBERS.items()}
    keys = {**TINY, "student.compare": "mine", **mine, "student.validate-every": 5}
    program.works("run", "--config", config, "--run-dir", run, *flags(keys))
    student = run / "student" / "mine-0"
    check(not (run / "teacher").exists(), "a coupling that reads the data set needs no teacher")
    summary = json.loads((student / "summary.json").read_text())
    for kind, name in MEMBERS.items():
        check(summary[kind] == name, f"summary.json: {kind} is {summary[kind]}, not {name}")
    check("hidden_0.weight" in weights_of(student / "ema.safetensors"), "the weights are not the linear maps'")
    seen = losses(student / "metrics.jsonl")
    check(len(seen) > 2 and seen[-1] < 0.7 * seen[0], f"nothing was learnt: held-out losses {seen}")
    scores = [record for record in json.loads((run / "evaluate" / "results.json").read_text())["records"]
              if record["model"] == "student" and record["metric"] == "frechet_distance"]
    check({record["nfe"] for record in scores} >= {1, 4}, f"scores: {scores}")
    check(all(record["value"] > 0 for record in scores), f"scores: {scores}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--extended", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", required=True, type=Path)
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    args.work.mkdir(parents=True)
    extended, plain = Program(args.extended), Program(args.couplet)
    run = args.work / "run"

    check_help(extended)
    check_training(extended, args.config, run)
    extended.works("sample", "--run-dir", run, "--model", "mine-0", "--nfe", 2, "--count", 10, "--output", args.work / "samples.png")
    extended.refuses(2, ["student.", "network = linear_map", "willisma/SiT"], "export", "--run-dir", run, "--model", "mine-0", "--output", args.work / "mine.pt")
    extended.refuses(2, ["cosine"], "run", "--config", args.config, "--run-dir", args.work / "none", "--student.path", "cosin")
    plain.refuses(2, ["cosine", "linear"], "run", "--config", args.config, "--run-dir", args.work / "none", "--student.path", "cosine")
    print("all as it should be")


if __name__ == "__main__":
    main()
