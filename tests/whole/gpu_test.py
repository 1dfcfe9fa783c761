#!/usr/bin/env python3
"""The pipeline on a GPU against the same on the CPU: equal draws, close losses, tables and scores; bfloat16; two ranks on one GPU, through host
memory; stopped and resumed with the same bits. Exit status 77 where there is no GPU. Standard library only.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "launch"))
from program import Program, fail  # noqa: E402

SKIPPED = 77
EXACT = ("--teacher.precision", "float32", "--student.precision", "float32", "--couple.precision", "float32")
ROUNDED = ("--teacher.precision", "bfloat16", "--student.precision", "bfloat16")
TRAINED = ("features", "teacher", "student/nf-0", "student/independent-0")
# nf trains from its own teacher's noise: other bits, and after a whole training not near.
COMPARED = ("features", "teacher", "student/independent-0")


class Pipeline(Program):
    def __init__(self, arguments):
        super().__init__(arguments.couplet)
        self.config, self.device = arguments.config, arguments.device

    def run_words(self, directory, *more, device=None, ranks=1):
        words = ("run", "--config", self.config, "--run-dir", directory, "--ranks", ranks)
        return [str(word) for word in (*words, "--pipeline.device", device or self.device, *more)]

    def run(self, directory, *more, **options):
        self.works(*self.run_words(directory, *more, **options))


def metrics(directory, stage):
    lines = [json.loads(line) for line in (directory / stage / "metrics.jsonl").read_text().splitlines()]
    if not lines:
        fail(f"{directory / stage}: no metrics")
    return lines


def compare_training(cpu, gpu, tolerance):
    for stage in COMPARED:
        for a, b in zip(metrics(gpu, stage)[:5], metrics(cpu, stage)[:5], strict=True):
            if a["digest"] != b["digest"]:
                fail(f"{stage}, step {a['step']}: digest {a['digest']} in {gpu}, {b['digest']} in {cpu}")
            if not math.isclose(a["loss"], b["loss"], rel_tol=tolerance, abs_tol=tolerance):
                fail(f"{stage}, step {a['step']}: loss {a['loss']} in {gpu}, {b['loss']} in {cpu}")
    for stage in TRAINED:
        if not all(line["loss"] is not None and math.isfinite(line["loss"]) for line in metrics(gpu, stage)):
            fail(f"{stage}: losses in {gpu} are not finite")
    print(f"{gpu.name}: trained as on the CPU", flush=True)


def check_table(program, cpu, work):
    """The CPU run's teacher inverts the data set anew on the GPU."""
    again = work / "table"
    shutil.copytree(cpu, again)
    program.run(again, *EXACT, "--redo", "couple")
    for part in ("coupling", "coupling/test"):
        program.works("verify", again / part, "--against", cpu / part, "--tolerance", "0.02")
    print("table: as made on the CPU, to 0.02", flush=True)


def stop_in_teacher(program, directory, words):
    command = [program.couplet, *program.run_words(directory, *words)]
    metrics_file = directory / "teacher" / "metrics.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 200
    while not metrics_file.exists() or metrics_file.read_bytes().count(b"\n") < 7:
        if process.poll() is not None or time.monotonic() > until:
            fail(f"{directory}: not stopped in the teacher's training (status {process.poll()})")
        time.sleep(0.01)
    process.terminate()
    if process.wait(timeout=100) != 75:
        fail(f"{directory}: asked to stop, it ended with status {process.returncode}, not 75")


def check_resume(program, work):
    keys = ("--pipeline.reproducible", "true", "--pipeline.checkpoint-every", "5")
    plain, stopped = work / "plain", work / "stopped"
    program.run(plain, *keys)
    stop_in_teacher(program, stopped, keys)
    program.run(stopped, *keys)
    for stage in TRAINED:
        if (plain / stage / "weights.safetensors").read_bytes() != (stopped / stage / "weights.safetensors").read_bytes():
            fail(f"{stage}: stopped and resumed, the weights differ")
    print("stopped and resumed: the same weights", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--device", default="cuda", help="cpu tries this test itself")
    arguments = parser.parse_args()
    program = Pipeline(arguments)
    if arguments.device == "cuda" and not re.search(r"^CUDA built; \d+ GPUs", program.call("version").stdout, re.MULTILINE):
        print("skipped: couplet version shows no GPU that it can use")
        sys.exit(SKIPPED)
    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    program.run(work / "cpu", *EXACT, device="cpu")
    program.run(work / "gpu", *EXACT)
    program.run(work / "gpu-2-ranks", *EXACT, ranks=2)
    program.run(work / "gpu-bfloat16", *ROUNDED)
    compare_training(work / "cpu", work / "gpu", 1e-3)
    compare_training(work / "cpu", work / "gpu-2-ranks", 1e-3)
    compare_training(work / "cpu", work / "gpu-bfloat16", 5e-2)
    check_table(program, work / "cpu", work)
    check_resume(program, work)


if __name__ == "__main__":
    main()
