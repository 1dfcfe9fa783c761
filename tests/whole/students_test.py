#!/usr/bin/env python3
"""Students of every network, of every objective and along every path that it goes with: with pipeline.reproducible the same bytes on 1 and 4
ranks, on 2 ranks of which one is killed while it publishes a checkpoint, and after a stop; then samples. A student that starts from another
one's weights has them as they are. What does not go together is refused in one line before any work. One thread a rank. Standard library only.
"""

import argparse
import json
import shutil
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from png_writer import write_png  # noqa: E402
from program import Program, check  # noqa: E402

STOPPED = 75  # the exit status of a stage that a time limit has stopped
STUDENTS = {
    "straight": "--path linear --objective velocity --sigma-min 0.01 --time-law uniform",
    "cosine": "--path vp-cosine --objective velocity",
    "ddpm": "--path vp --objective noise --time-law uniform",
    "exploding": "--path ve --objective score --time-law uniform",
    "weighted": "--path vp --objective scoreflow --time-law importance",
    "regressed": "--objective regression",
    "one-step": "--kind image --image-loss huber --train-guidance 1.5",
    "aligned": "--coupling nf --kind image --align-weight 100 --train-guidance 1.5 --depth 2",
    "likely": "--objective likelihood --cnf-steps 2",
    "restored": "--coupling low-resolution --network unet --channels 32 --multipliers 1,1 --blocks 1 --heads 2 --dropout 0.2",
    "perceptron": "--network mlp --depth 2",
    "shortened": "--objective shortcut --map-share 0.5 --init-from straight",
    "consistent": "--objective consistency --map-share 0.5 --map-weight-power 0",
    "averaged": "--objective meanflow --map-share 0.5 --network unet --channels 32 --multipliers 1,1 --blocks 1 --heads 2 --dropout 0.2 --time-scale 1",
}
STARTED = "--student.again.init-from straight --student.again.sigma-min 0.01 --student.again.learning-rate 0 --student.again.final-learning-rate 0"
KEYS = f"""
--prepare.train-rows 120 --prepare.test-rows 24 --prepare.shard-rows 60 --prepare.block-rows 12 --couple.block-rows 12 --couple.shard-rows 60
--couple.slice-rows 12 --prepare.condition low-resolution --prepare.factor 4
--student.compare {",".join(STUDENTS)},again --student.coupling independent --student.images 36 --student.batch 12 --student.warmup 1
--student.validate-rows 12 --student.preview-every 0 --student.depth 1 --student.channels 12 --student.heads 1 --pipeline.checkpoint-every 1
--teacher.images 24 --teacher.batch 12 --teacher.warmup 1 --teacher.validate-rows 12 --teacher.preview-every 0 --couple.replicates 2
--pipeline.reproducible true --pipeline.slices 4 --pipeline.threads 1 --pipeline.device cpu {STARTED}
""".split()
# Of students plain and other, which are trained on independent pairs.
REFUSED = {
    "--student.objective regression --student.path vp": ["student.objective = regression", "set student.path = linear"],
    "--student.objective likelihood --student.path ve": ["student.objective = likelihood", "student.path"],
    "--student.objective likelihood --student.times 1": ["student.times = 1", "student.objective = likelihood"],
    "--student.plain.objective likelihood --student.plain.coupling ot": ["student.plain.objective = likelihood", "student.plain.coupling = ot"],
    "--student.objective scoreflow": ["student.time-law = logit-normal", "student.objective = scoreflow"],
    "--student.time-law importance": ["student.time-law = importance", "student.objective = velocity"],
    "--student.path vp --student.vp-beta-min 30": ["student.vp-beta-min = 30", "student.vp-beta-max = 20"],
    "--evaluate.likelihood-rows 8 --evaluate.likelihood-samples 4": ["evaluate.likelihood-samples = 4", "evaluate.likelihood-probes"],
    "--student.plain.init-from other --student.other.channels 24": ["student.plain.init-from = other", "parameters"],
    "--student.plain.init-from other --student.other.objective noise": ["student.plain.objective = velocity", "noise of other"],
    "--student.plain.coupling reflow --student.plain.reflow-of other --student.other.objective regression":
        ["student.plain.reflow-of = other", "one image of all noise"],
    "--student.plain.coupling reflow --student.plain.reflow-of other --student.other.label-drop 1 --couple.guidance 2":
        ["student.plain.reflow-of = other", "couple.guidance = 2"],
    "--prepare.condition low-resolution --prepare.factor 4 --evaluate.samples 500 --student.plain.coupling low-resolution "
    "--evaluate.temperature 1,0.9": ["evaluate.temperature = 1 0.9", "student.plain.coupling = low-resolution"],
    "--evaluate.temperature 0.9 --evaluate.euler-nfe NONE --evaluate.heun-nfe NONE --evaluate.sde-nfe 4":
        ["evaluate.temperature = 0.9", "temperature 1 alone"],
    "--couple.ema 0.5": ["couple.ema = 0.5", "teacher.ema = 0.98"],
    "--student.plain.objective likelihood --evaluate.euler-nfe NONE --evaluate.heun-nfe NONE --evaluate.sde-nfe 4":
        ["student.plain.objective = likelihood has no score", "evaluate.euler-nfe"],
    "--student.plain.kind image --student.plain.path vp": ["student.plain.kind = image", "set student.plain.path = linear"],
    "--student.plain.kind image --student.plain.objective noise": ["student.plain.objective = noise", "student.kind = image"],
    "--student.plain.kind image --student.plain.times 1": ["student.plain.times = 1", "student.kind = image"],
    "--student.plain.align-weight 1": ["student.plain.align-weight = 1", "student.kind = flow"],
    "--student.plain.align-weight 1 --student.plain.kind image": ["student.plain.align-weight = 1", "student.plain.coupling = independent"],
    "--student.plain.feature-weight 1": ["student.plain.feature-weight = 1", "student.kind = flow"],
    "--student.plain.coupling reflow --student.plain.reflow-of other --student.other.kind image": ["student.plain.reflow-of = other", "in one step"],
    "--student.plain.init-from other --student.other.kind image": ["student.plain.kind = flow", "image of other"],
    "--student.objective consistency --student.path vp": ["student.objective = consistency", "set student.path = linear"],
    "--student.objective shortcut --student.times 1": ["student.times = 1", "student.objective = shortcut"],
    "--student.plain.init-from other --student.other.objective meanflow": ["student.plain.objective = velocity", "meanflow of other"],
    "--evaluate.tolerance-samples 4 --evaluate.tolerances NONE": ["evaluate.tolerances is empty"],
    "--prepare.condition low-resolution --prepare.factor 4 --evaluate.samples 500 --evaluate.curvature-samples 2000":
        ["evaluate.curvature-samples = 2000", "1000"],
    "--student.network unet --student.channels 32 --student.heads 1 --student.multipliers 1,1,1,1":
        ["student.multipliers = 1 1 1 1", "28 x 28", "pad them to 32 or use 3 levels"],
    "--student.field unet": ["student.field is called", "student.network now"],
}


def of(student):
    """Its own keys: --student.NAME.key value."""
    return [word.replace("--", f"--student.{student}.") for word in STUDENTS[student].split()]


def weights(run, student):
    return {path.name: path.read_bytes() for path in sorted((run / "student" / f"{student}-0").glob("*.safetensors"))}


def values(path):
    """The bytes of a safetensors file's tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return data[8 + length:]


def check_refusals(program, config, folder):
    for keys, parts in REFUSED.items():
        asked = ["" if word == "NONE" else word for word in keys.split()]
        program.refuses(2, parts, "run", "--run-dir", folder, "--config", config, "--student.compare", "plain,other",
                        "--student.coupling", "independent", *asked)
    check(not folder.exists(), "refused after some work")


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

    def words(stage, run, *keys):
        return ("stage", stage, "--run-dir", run, "--config", arguments.config, *KEYS, *own, *keys)

    base, ranks, kill, stop = (arguments.work / name for name in ("1 rank", "4 ranks", "a kill", "a stop"))
    for stage in ("prepare", "teacher", "coupling/nf"):
        program.works(*words(stage, base))
    for run in (ranks, kill, stop):
        shutil.copytree(base, run)

    def train(student):
        stage = f"student/{student}-0"
        program.works(*words(stage, base))
        expected = weights(base, student)
        check(len(expected) == 2, f"files of {student}: {sorted(expected)}")
        program.works(*words(stage, ranks), ranks=4)
        killed = program.call(*words(stage, kill), ranks=2, environment={"COUPLET_TEST_KILL_IN_PUBLISH": "step-:renamed"})
        check(killed.returncode != 0, f"{student} was to be killed: {killed.stdout}")
        check(not weights(kill, student), f"{student} was killed and has published weights")
        program.works(*words(stage, kill), ranks=2)
        stopped = program.call(*words(stage, stop, "--pipeline.time-limit", 0.01))
        check(stopped.returncode == STOPPED, f"{student} was to stop: {stopped.returncode} {stopped.stderr}")
        program.works(*words(stage, stop))
        for run in (ranks, kill, stop):
            check(weights(run, student) == expected, f"{student} is another one after {run.name}")
        print(f"{student}: the same bytes on 1 and 4 ranks, after a kill and after a stop", flush=True)

    first, *others = STUDENTS
    train(first)  # whose weights another one starts from
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(train, others))
    check(len({weights(base, student)["weights.safetensors"] for student in STUDENTS}) == len(STUDENTS), "two students are the same")
    small = arguments.work / "small"
    small.mkdir()
    write_png(small / "square.png", [bytes([30 * row] * 7) for row in range(7)])
    for student in ("restored", "perceptron", "likely", "shortened", "consistent", "averaged"):
        image = arguments.work / f"{student}.png"
        program.works("sample", "--run-dir", base, "--model", f"{student}-0", "--nfe", 2, "--low-resolution", small, "--output", image)
        check(image.exists(), f"no sample of {student}")
    program.works("sample", "--run-dir", base, "--model", "aligned-0", "--low-resolution", small, "--output", arguments.work / "aligned.png")
    line = json.loads((base / "student/aligned-0/metrics.jsonl").read_text().splitlines()[-1])
    check(line["test_alignment"] > 0 and line["raw_test_alignment"] > 0, f"no alignment on held-out pairs: {line}")
    # So much of the loss is the distance that the error of the image, around 1, is little beside it.
    check(50 < line["loss"] / line["raw_test_alignment"] < 200, f"the distance has not its weight in the loss: {line}")
    program.refuses(2, ["student.objective = meanflow", "unet"], "export", "--run-dir", base, "--model", "averaged-0", "--output", arguments.work / "averaged.pt")
    program.works(*words("student/again-0", base))
    taken = values(base / "student/again-0/weights.safetensors")
    check(taken == values(base / "student/straight-0/ema.safetensors"), "weights that init-from takes are others")
    check_refusals(program, arguments.config, arguments.work / "none")
    print("passed")


if __name__ == "__main__":
    main()
