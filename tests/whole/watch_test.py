#!/usr/bin/env python3
"""What a user sees while a model trains: curves and pictures as TensorBoard's own reader gives them, validation figures, quick scores.

A teacher is trained, watched closely, killed and resumed; TensorBoard reads along. Its curves must be those of metrics.jsonl, each step once; its weights those of
a teacher that nobody watched, byte for byte. With weights that do not change, the figures must have the same digits on one, two and three ranks.
Needs numpy and the packages that scripts/setup puts into python-tools.
"""

import argparse
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import check  # noqa: E402

STEPS, VALIDATE, PREVIEW, KILL_AFTER = 120, 25, 40, 50
KEYS = f"""prepare.train-rows=600 prepare.test-rows=200 prepare.shard-rows=200 prepare.block-rows=100
    features.images=960 features.validate-every=10 features.validate-rows=150
    teacher.images={48 * STEPS} teacher.validate-rows=150 teacher.preview-samples=150
    couple.shard-rows=200 couple.block-rows=100 couple.slice-rows=100
    student.images=1920 student.validate-rows=150 student.preview-samples=150 pipeline.log-every=0""".split()
WATCHED = [f"{stage}.{key}" for stage in ("teacher", "student") for key in (f"validate-every={VALIDATE}", f"preview-every={PREVIEW}")]
UNWATCHED = [f"{stage}.{key}" for stage in ("teacher", "student") for key in ("validate-every=1000000", "preview-every=0")]


class Runner:
    def __init__(self, arguments):
        self.couplet, self.config, self.mpiexec = arguments.couplet, arguments.config, arguments.mpiexec

    def command(self, stage, directory, keys, ranks=1):
        launcher = [] if ranks == 1 else [self.mpiexec, "--oversubscribe", "-n", ranks]
        words = [*launcher, self.couplet, "stage", stage, "--run-dir", directory, "--config", self.config, "--pipeline.threads", "1"]
        for name, value in dict(key.split("=") for key in [*KEYS, *keys]).items():  # the last one counts
            words += [f"--{name}", value]
        return [str(word) for word in words]

    def run(self, *arguments, **options):
        command = self.command(*arguments, **options)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        check(done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def kill(self, stage, directory, keys, lines):
        """SIGKILL once so many lines stand in the stage's metrics."""
        process = subprocess.Popen(self.command(stage, directory, keys), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        path = directory / stage / "metrics.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < lines:
            check(process.poll() is None, f"{stage} ended before it could be killed")
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()


def metrics(directory):
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    check(lines and [line["step"] for line in lines] == list(range(len(lines))), f"{directory}: steps are missing or repeated")
    return lines


def check_figures(directory, names, quick):
    """Validation and quick scores stand where they belong, and nowhere else."""
    for line in metrics(directory):
        done = line["step"] + 1
        for name in (*names, *(f"raw_{name}" for name in names)):
            due = done % VALIDATE == 0 or done == len(metrics(directory))
            check((name in line) == due, f"{directory}, step {line['step']}: {name} in {line}")
        for name in quick:
            check((name in line) == (done % PREVIEW == 0), f"{directory}, step {line['step']}: {name} in {line}")


def float32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


def check_curves(accumulator, directory):
    """All curves and pictures, as TensorBoard read them, are those of the metrics and of previews/."""
    lines = metrics(directory)
    tags = {name for line in lines for name, figure in line.items() if isinstance(figure, (int, float))} - {"step", "images"}
    check({"loss", "grad_norm", "lr", "flops"} <= tags, f"{directory}: only {tags} in the metrics")
    check(set(accumulator.Tags()["scalars"]) == tags, f"{directory}: curves {accumulator.Tags()['scalars']}, metrics {tags}")
    for tag in tags:
        read = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        written = [(line["step"], float32(line[tag])) for line in lines if tag in line]
        check(read == written, f"{directory}: curve {tag} is {read[:3]}..., the metrics have {written[:3]}...")
    pictures = {event.step + 1: event for event in accumulator.Images("samples")}
    files = {int(path.stem.removeprefix("step-")): path for path in (directory / "previews").iterdir()}
    check(set(pictures) == set(files) == set(range(PREVIEW, len(lines) + 1, PREVIEW)), f"{directory}: pictures {pictures}, {files}")
    for step, path in files.items():
        png = path.read_bytes()
        check(pictures[step].encoded_image_string == png, f"{path}: another picture in TensorBoard")
        size = struct.unpack(">II", png[16:24])
        check((pictures[step].width, pictures[step].height) == size == (10 * 30 - 2, 8 * 30 - 2), f"{path}: a picture of {size}")
    print(f"{directory.name}: {len(tags)} curves of {len(lines)} steps and {len(files)} pictures, each once", flush=True)


def compare_weights(one, other):
    for name in ("weights.safetensors", "ema.safetensors"):
        check((one / name).read_bytes() == (other / name).read_bytes(), f"{name} of {one} and {other} differ")
    print(f"{one.name}: the same weights watched and not", flush=True)


def check_training(runner, base, work, reader):
    """Returns the watched run."""
    plain, watched = work / "plain", work / "watched"
    shutil.copytree(base, plain)
    shutil.copytree(base, watched)
    runner.run("teacher", plain, UNWATCHED)
    check(not (plain / "teacher/previews").exists(), "previews that nobody asked for")
    runner.kill("teacher", watched, WATCHED, KILL_AFTER)
    along = reader(str(watched / "teacher/tensorboard"))
    along.Reload()
    check(len(along.Scalars("loss")) >= KILL_AFTER, "TensorBoard reads nothing while training runs")
    said = runner.run("teacher", watched, WATCHED)
    check("lost and are done again" in said, f"nothing was lost:\n{said}")
    check_figures(watched / "teacher", ["test_nats_per_value"], ["quick_frechet_distance", "quick_class_accuracy"])
    along.Reload()
    check_curves(along, watched / "teacher")
    after = reader(str(watched / "teacher/tensorboard"))
    after.Reload()
    check_curves(after, watched / "teacher")
    files = sorted((watched / "teacher/tensorboard").iterdir())
    check(len(files) == 2 and [path.stat().st_size > 0 for path in files] == [False, True], f"event files: {files}")
    compare_weights(plain / "teacher", watched / "teacher")
    check_lines(said)

    runner.run("couple", watched, WATCHED)
    shutil.copytree(watched, work / "unwatched-student")
    for name, keys, student in ((watched, WATCHED, "nf-0"), (work / "unwatched-student", UNWATCHED, "nf-0"), (watched, WATCHED, "independent-0")):
        runner.run(f"student/{student}", name, keys)
    for student in ("nf-0", "independent-0"):
        check_figures(watched / "student" / student, ["test_loss"], ["quick_frechet_distance", "quick_class_accuracy"])
    compare_weights(work / "unwatched-student/student/nf-0", watched / "student/nf-0")
    return watched


def check_lines(said):
    for part in (" M parameters; ", " steps of 48 images (48 on each of 1 rank, ", "FLOP an image (forward and backward), ", "matrix products reach ",
                 "plan: memory a rank: weights, gradients, optimizer, EMA ", " images/s, ", " % of the matmul peak), ", " remaining", "samples after step "):
        check(part in said, f"'{part}' is not in what the teacher said:\n{said}")


def check_ranks(runner, base, work, teacher):
    """A learning rate of 0: the weights, and so the figures, are the same on any number of ranks."""
    still = ["teacher.images=96", "teacher.learning-rate=0", "teacher.final-learning-rate=0", "teacher.weight-decay=0",
             "teacher.validate-every=1", "teacher.preview-every=1", f"teacher.init={teacher / 'ema.safetensors'}"]
    seen = []
    for ranks in (1, 2, 3):
        directory = work / f"ranks-{ranks}"
        shutil.copytree(base, directory)
        runner.run("teacher", directory, still, ranks=ranks)
        line = metrics(directory / "teacher")[-1]
        figures = {name: line[name] for name in ("test_nats_per_value", "raw_test_nats_per_value", "quick_frechet_distance", "quick_class_accuracy")}
        check(all(math.isfinite(figure) for figure in figures.values()), f"on {ranks} ranks: {figures}")
        seen.append((figures, (directory / "teacher/previews/step-00000002.png").read_bytes()))
    check(seen[0] == seen[1] == seen[2], f"other figures or pictures on other numbers of ranks: {[figures for figures, _ in seen]}")
    print(f"{seen[0][0]} on 1, 2 and 3 ranks", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--tools", required=True, type=Path, help="python-tools of scripts/setup")
    parser.add_argument("--work", required=True, type=Path)
    arguments = parser.parse_args()
    check((arguments.tools / "tensorboard").is_dir(), f"{arguments.tools} does not hold tensorboard: run scripts/setup")
    sys.path.insert(0, str(arguments.tools))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_mpi_yield_when_idle="1")
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    runner, base = Runner(arguments), arguments.work / "base"
    runner.run("prepare", base, WATCHED)
    runner.run("features", base, WATCHED)
    line = metrics(base / "features")[9]
    check({"test_cross_entropy", "test_accuracy", "raw_test_cross_entropy", "raw_test_accuracy"} <= set(line), f"features: {line}")
    watched = check_training(runner, base, arguments.work, lambda path: EventAccumulator(path, size_guidance={"scalars": 0, "images": 0}))
    check_ranks(runner, base, arguments.work, watched / "teacher")
    print("passed")


if __name__ == "__main__":
    main()
