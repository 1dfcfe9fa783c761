#!/usr/bin/env python3
"""Students that are U-Nets, with dropout, and perceptrons: the same bytes on 1, 2 and 4 ranks with pipeline.reproducible, and after being
stopped on the way; then a sample of each. A student that starts from another one's weights has them as they are. One thread a rank. Standard library only.
"""

import argparse
import shutil
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import Program, check  # noqa: E402

STOPPED = 75
KEYS = """
--prepare.train-rows 120 --prepare.test-rows 24 --prepare.shard-rows 60 --prepare.block-rows 12 --couple.block-rows 12 --couple.shard-rows 60 --couple.slice-rows 12
--student.compare net,points,first,again --student.coupling independent --student.images 60 --student.batch 12 --student.warmup 2
--student.validate-rows 12 --student.preview-every 0 --student.depth 2 --student.channels 32
--student.net.network unet --student.net.multipliers 1,1 --student.net.blocks 1 --student.net.heads 2 --student.net.dropout 0.2
--student.points.network mlp --student.first.heads 1 --student.again.heads 1 --student.again.init-from first
--student.again.learning-rate 0 --student.again.final-learning-rate 0
--pipeline.reproducible true --pipeline.slices 4 --pipeline.threads 1 --pipeline.device cpu
""".split()


def weights(run, student):
    return {path.name: path.read_bytes() for path in sorted((run / "student" / student).glob("*.safetensors"))}


def values(path):
    """The bytes of a safetensors file's tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return data[8 + length:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    alone = Program(arguments.couplet, arguments.mpiexec)

    def words(stage, run, *keys):
        return ("stage", stage, "--run-dir", run, "--config", arguments.config, *KEYS, *keys)

    base = arguments.work / "base"
    alone.works(*words("prepare", base))
    runs = {"2 ranks": 2, "4 ranks": 4, "a stop": 1}
    for name in runs:
        shutil.copytree(base, arguments.work / name)
    for student in ("net-0", "points-0"):
        stage = f"student/{student}"
        alone.works(*words(stage, base))
        expected = weights(base, student)
        check(len(expected) == 2, f"files of {student}: {sorted(expected)}")
        for name, ranks in runs.items():
            run = arguments.work / name
            if ranks == 1:
                stopped = alone.call(*words(stage, run, "--pipeline.time-limit", 0.01))
                check(stopped.returncode == STOPPED, f"{student} was to stop: {stopped.returncode} {stopped.stderr}")
                alone.works(*words(stage, run))
            else:
                alone.works(*words(stage, run), ranks=ranks)
            check(weights(run, student) == expected, f"{student} is another one after {name}")
            print(f"{student}: the same bytes after {name}", flush=True)
        alone.works("sample", "--run-dir", base, "--model", student, "--nfe", 2, "--count", 4, "--output", base / f"{student}.png")
    for student in ("first-0", "again-0"):
        alone.works(*words(f"student/{student}", base))
    trained, taken = base / "student/first-0", base / "student/again-0"
    check(values(taken / "weights.safetensors") == values(trained / "ema.safetensors"), "weights that init-from takes are others")
    none = arguments.work / "none"
    refused = ("run", "--run-dir", none, "--config", arguments.config, "--student.compare", "independent")
    alone.refuses(2, ["student.multipliers = 1 1 1 1", "28 x 28", "pad them to 32 or use 3 levels"], *refused,
                  "--student.network", "unet", "--student.channels", 32, "--student.heads", 1, "--student.multipliers", "1,1,1,1")
    alone.refuses(2, ["student.field is called", "student.network now"], *refused, "--student.field", "unet")
    check(not (none / "prepare").exists(), "refused before any work")
    print("passed")


if __name__ == "__main__":
    main()
