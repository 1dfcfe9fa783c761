#!/usr/bin/env python3
"""Students of every objective, along every path that it goes with: with pipeline.reproducible the same bytes on 1 and 4 ranks, and on 2 ranks of
which one is killed while it publishes a checkpoint. What does not go together is refused in one line before any work. Standard library only.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import Program, check  # noqa: E402

STUDENTS = {
    "straight": "--path linear --objective velocity --sigma-min 0.01 --time-law uniform",
    "cosine": "--path vp-cosine --objective velocity",
    "ddpm": "--path vp --objective noise --time-law uniform",
    "exploding": "--path ve --objective score --time-law uniform",
    "weighted": "--path vp --objective scoreflow --time-law importance",
    "regressed": "--objective regression",
    "likely": "--objective likelihood --cnf-steps 2",
    "restored": "--objective velocity --coupling low-resolution --network unet --channels 32 --multipliers 1,1 --blocks 1 --heads 2",
}
KEYS = """
--prepare.train-rows 120 --prepare.test-rows 24 --prepare.shard-rows 60 --prepare.block-rows 12 --couple.block-rows 12 --couple.shard-rows 60
--couple.slice-rows 12 --prepare.condition low-resolution --prepare.factor 4
--student.coupling independent --student.images 36 --student.batch 12 --student.warmup 1 --student.validate-rows 12 --student.preview-every 0
--student.depth 1 --student.channels 12 --student.heads 1 --pipeline.checkpoint-every 1
--pipeline.reproducible true --pipeline.slices 4 --pipeline.threads 1 --pipeline.device cpu
""".split() + ["--student.compare", ",".join(STUDENTS)]
# Of students plain and other, which are trained on independent pairs.
REFUSED = {
    "--student.objective regression --student.path vp": ["student.objective = regression", "set student.path = linear"],
    "--student.objective likelihood --student.path ve": ["student.objective = likelihood", "student.path"],
    "--student.plain.objective likelihood --student.plain.coupling ot": ["student.plain.objective = likelihood", "student.plain.coupling = ot"],
    "--student.objective scoreflow": ["student.time-law = logit-normal", "student.objective = scoreflow"],
    "--student.time-law importance": ["student.time-law = importance", "student.objective = velocity"],
    "--student.path vp --student.vp-beta-min 30": ["student.vp-beta-min = 30", "student.vp-beta-max = 20"],
    "--evaluate.likelihood-rows 8 --evaluate.likelihood-samples 4": ["evaluate.likelihood-samples = 4", "evaluate.likelihood-probes"],
    "--student.plain.init-from other --student.other.channels 24": ["student.plain.init-from = other", "parameters"],
    "--student.plain.init-from other --student.other.objective noise": ["student.plain.objective = velocity", "noise of other"],
    "--student.plain.coupling reflow --student.plain.reflow-of other --student.other.objective regression":
        ["student.plain.reflow-of = other", "one image of all noise"],
    "--student.plain.objective regression --evaluate.euler-nfe NONE --evaluate.heun-nfe NONE --evaluate.sde-nfe 4":
        ["student.plain.objective = regression has no score", "evaluate.euler-nfe"],
    "--evaluate.tolerance-samples 4 --evaluate.tolerances NONE": ["evaluate.tolerances is empty"],
    "--prepare.condition low-resolution --prepare.factor 4 --evaluate.samples 500 --evaluate.curvature-samples 2000":
        ["evaluate.curvature-samples = 2000", "1000"],
}


def of(student):
    """Its own keys: --student.NAME.key value."""
    return [word.replace("--", f"--student.{student}.") for word in STUDENTS[student].split()]


def weights(run, student):
    return {path.name: path.read_bytes() for path in sorted((run / "student" / f"{student}-0").glob("*.safetensors"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    program = Program(arguments.couplet, arguments.mpiexec)
    own = [word for student in STUDENTS for word in of(student)]

    def words(stage, run):
        return ("stage", stage, "--run-dir", run, "--config", arguments.config, *KEYS, *own)

    base = arguments.work / "1 rank"
    program.works(*words("prepare", base))
    runs = {name: arguments.work / name for name in ("4 ranks", "a kill")}
    for run in runs.values():
        shutil.copytree(base, run)
    for student in STUDENTS:
        stage = f"student/{student}-0"
        program.works(*words(stage, base))
        expected = weights(base, student)
        check(len(expected) == 2, f"files of {student}: {sorted(expected)}")
        program.works(*words(stage, runs["4 ranks"]), ranks=4)
        os.environ["COUPLET_TEST_KILL_IN_PUBLISH"] = "step-:renamed"
        killed = program.call(*words(stage, runs["a kill"]), ranks=2)
        del os.environ["COUPLET_TEST_KILL_IN_PUBLISH"]
        check(killed.returncode != 0, f"{student} was to be killed: {killed.stdout}")
        check(not weights(runs["a kill"], student), f"{student} was killed and has published weights")
        program.works(*words(stage, runs["a kill"]), ranks=2)
        for name, run in runs.items():
            check(weights(run, student) == expected, f"{student} is another one after {name}")
        print(f"{student}: the same bytes on 1 and 4 ranks, and after a kill", flush=True)
    check(len({weights(base, student)["weights.safetensors"] for student in STUDENTS}) == len(STUDENTS), "two students are the same")

    none = arguments.work / "none"
    for keys, parts in REFUSED.items():
        asked = ["" if word == "NONE" else word for word in keys.split()]
        program.refuses(2, parts, "run", "--run-dir", none, "--config", arguments.config, "--student.compare", "plain,other",
                        "--student.coupling", "independent", *asked)
    check(not none.exists(), "refused after some work")
    print("passed")


if __name__ == "__main__":
    main()
