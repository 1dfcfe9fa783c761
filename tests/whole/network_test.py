#!/usr/bin/env python3
"""Fréchet distances by a user's TorchScript network: reference statistics on any number of ranks, scores against numpy and scipy, what is refused."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.linalg

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "peers")]
import peer_python  # noqa: E402
from program import Program, check  # noqa: E402
from table_images import images_of  # noqa: E402

TINY = {"prepare.train-rows": 300, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "teacher.images": 240, "teacher.batch": 24,
        "couple.shard-rows": 150, "couple.block-rows": 50, "couple.slice-rows": 50, "evaluate.samples": 40, "evaluate.slice-rows": 20,
        "pipeline.device": "cpu", "pipeline.threads": 1}
FEATURES = 12

# Takes RGB only; without return_features its output is probabilities.
MAKE_NETWORK = """
import sys, torch

class Network(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.matrix = torch.nn.Parameter(torch.randn(12, 3 * 28 * 28) / 50)

    def forward(self, images, return_features: bool = False):
        assert images.shape[1] == 3, "three channels"
        x = (images.float() / 255).flatten(1).matmul(self.matrix.t())
        return x if return_features else torch.softmax(x, 1)

for seed, name in enumerate(sys.argv[1:]):
    torch.jit.script(Network(seed)).save(name)
    torch.save(Network(seed).state_dict(), name + ".weights")
"""
READ_MATRIX = "import sys, torch, numpy; numpy.save(sys.argv[2], torch.load(sys.argv[1])['matrix'].numpy())"


def moments_of(images, matrix):
    features = np.repeat(images.astype(np.float64) / 255, 3, axis=1).reshape(len(images), -1) @ matrix.astype(np.float64).T
    return features.mean(0), np.cov(features, rowvar=False)


def frechet(a, b):
    root = scipy.linalg.sqrtm(a[1] @ b[1]).real
    return float(((a[0] - b[0])**2).sum() + np.trace(a[1] + b[1] - 2 * root))


def make_networks(arguments):
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")
    files = [arguments.work / "network.pt", arguments.work / "other.pt"]
    # A file: torch.jit.script reads the source.
    script = arguments.work / "make_network.py"
    script.write_text(MAKE_NETWORK)
    subprocess.run([python, script, *files], env=environment, check=True, timeout=100)
    subprocess.run([python, "-c", READ_MATRIX, f"{files[0]}.weights", arguments.work / "matrix.npy"], env=environment, check=True, timeout=100)
    return files, np.load(arguments.work / "matrix.npy")


def check_reference(program, arguments, network, run, expected):
    """The same bytes on 1, 2 and 3 ranks, numpy's moments, what they are of."""
    made = []
    for ranks in (1, 2, 3):
        path = arguments.work / f"reference-{ranks}.npz"
        done = program.call("reference", run / "prepare/train", "--network", network, "--network-args", "return_features=True", "--output", path,
                            ranks=ranks)
        check(done.returncode == 0, f"status {done.returncode} on {ranks} ranks: {done.stdout}{done.stderr}")
        check((done.stdout + done.stderr).count("grey images are given to it as RGB") == 1, f"it does not say once that grey images become RGB: {done}")
        made.append(path.read_bytes())
    check(made[0] == made[1] == made[2], "reference statistics differ between 1, 2 and 3 ranks")
    with np.load(arguments.work / "reference-1.npz") as file:
        check(np.abs(file["mu"] - expected[0]).max() < 1e-5 and np.abs(file["sigma"] - expected[1]).max() < 1e-5, "mu or sigma is not numpy's")
        provenance = json.loads(bytes(file["provenance"]))
        check(file["n"] == [300] and provenance["split"] == "train" and provenance["network"] == "network.pt(return_features=True)",
              f"provenance {provenance}")
    return arguments.work / "reference-1.npz", provenance["network_hash"]


def scores(run):
    return {(record["model"], record["metric"], record["denoised"]): record for record in json.loads((run / "evaluate/results.json").read_text())["records"]}


def check_scores(program, arguments, run, network, reference, network_hash, expected):
    keys = ("--evaluate.network", network, "--evaluate.network-args", "return_features=True")
    other = arguments.work / "given"
    shutil.copytree(run, other)
    for stage in ("evaluate/real", "evaluate/teacher"):
        program.works("stage", stage, "--run-dir", run, *keys)
        program.works("stage", stage, "--run-dir", other, *keys, "--evaluate.reference", reference, ranks=2)
    ours, given = scores(run), scores(other)
    real = ours["real", "frechet_distance", False]
    check(abs(real["value"] - expected) < 1e-4 * expected, f"Fréchet distance {real['value']}, scipy's {expected}")
    check(real["network_hash"] == network_hash and real["resize"] == "inside the network" and real["network"].startswith("network.pt("),
          f"the record does not say which network: {real}")
    check(not any(metric == "class_accuracy" for _, metric, _ in ours) and not (run / "features").exists(),
          "the built-in classifier was asked for beside a network of the user's")
    check(len(ours) >= 4 and ours.keys() == given.keys(), f"records: {list(ours)}")
    for key, record in ours.items():
        check(abs(record["value"] - given[key]["value"]) <= 1e-8 * abs(record["value"]), f"{key}: {record['value']} and {given[key]['value']}")
    check(len(list((run / "evaluate").glob("reference-*.safetensors"))) == 1, "the training images' statistics are not kept")


def check_pairwise_metrics(program, run, network):
    """Those of held-out images are the figures of `couplet score`."""
    done = program.call("score", "--samples", run / "prepare/test", "--reference", run / "prepare/train", "--held-out", run / "prepare/test",
                        "--network", network, "--network-args", "return_features=True", "--json")
    check(done.returncode == 0, f"score: status {done.returncode}: {done.stderr}")
    ours, found = scores(run), json.loads(done.stdout)["scores"]
    names = {score["metric"] for score in found}
    check(names == {"frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "nearest_training_ratio"}, f"scores: {names}")
    for score in found:
        for model, denoised in (("real", False), ("teacher", False), ("teacher", True)):
            check((model, score["metric"], denoised) in ours, f"{model} has no {score['metric']}")
        record = ours["real", score["metric"], False]
        for field, value in score.items():
            close = abs(value - record[field]) <= 1e-8 * abs(value) if isinstance(value, float) else value == record[field]
            check(close, f"{score['metric']}, {field}: score says {value}, the record {record[field]}")
    check("40 samples is biased" in ours["teacher", "frechet_distance", True]["warning"], "no warning of few samples")
    check((run / "evaluate/pictures/teacher-nearest.png").exists(), "no picture of the nearest training images")


def check_refusals(program, arguments, run, network, other, reference):
    bad = arguments.work / "bad.pt"
    bad.write_text("no network")
    output = ("--output", arguments.work / "new.npz")
    train = run / "prepare/train"
    program.refuses(2, ["probabilities"], "reference", train, "--network", network, *output)
    program.refuses(2, ["neither a TorchScript program"], "reference", train, "--network", bad, *output)
    # Tensors by torch.save are taken for the Inception network's, which these are not.
    program.refuses(1, ["network.pt.weights", "hold matrix", "of another model"], "reference", train, "--network", f"{network}.weights", *output)
    program.refuses(2, ["its parameters besides the images: return_features"], "reference", train, "--network", network, "--network-args", "fast=True", *output)
    program.refuses(2, ["exists and is not overwritten"], "reference", train, "--network", network, "--output", reference)
    check(not (arguments.work / "new.npz").exists(), "a refused command left statistics")
    stage = ("stage", "evaluate/teacher", "--run-dir", run)
    arguments_key = ("--evaluate.network-args", "return_features=True")
    # Each as the first evaluation of its run.
    shutil.rmtree(run / "evaluate/teacher")
    # Before anything is trained:
    new_run = ("run", "--run-dir", arguments.work / "new", "--config", arguments.config, "--evaluate.network")
    program.refuses(2, ["neither a TorchScript program"], *new_run, bad)
    program.refuses(2, ["its parameters besides the images: return_features"], *new_run, network, "--evaluate.network-args", "fast=True")
    program.refuses(2, ["no such file"], *new_run, arguments.work / "missing.pt")
    program.refuses(2, ["at least 13 samples; evaluate.samples = 12"], *new_run, network, *arguments_key, "--evaluate.samples", 12)
    program.refuses(2, ["features.dimension: 64 features", "at least 65 samples; evaluate.samples = 64"], *new_run, "", "--evaluate.samples", 64)
    program.refuses(2, ["at least 65 samples", "held-out images: 64"], *new_run, "", "--prepare.test-rows", 64)
    # 10a555e trained with so few, until a preview was to be scored.
    program.refuses(2, ["features.dimension: 64 features", "at least 65 samples", "training images: 64 (prepare.train-rows)"], *new_run, "", "--prepare.train-rows", 64)
    check(not (arguments.work / "new" / "prepare").exists(), "a stage ran although the network cannot be read")
    program.refuses(2, ["without evaluate.network"], *stage, "--evaluate.network", "", *arguments_key)
    program.refuses(2, ["compared with features of other.pt"], *stage, "--evaluate.network", other, *arguments_key, "--evaluate.reference", reference)
    shutil.rmtree(run / "evaluate/teacher")
    program.refuses(2, ["at least 13 samples; evaluate.samples = 12"], *stage, "--evaluate.network", network, *arguments_key, "--evaluate.samples", 12)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    program = Program(arguments.couplet, arguments.mpiexec)
    (network, other), matrix = make_networks(arguments)
    run = arguments.work / "run"
    keys = [word for key, value in TINY.items() for word in (f"--{key}", value)]
    for stage in ("prepare", "teacher", "couple"):
        program.works("stage", stage, "--run-dir", run, "--config", arguments.config, *keys)
    train, test = (moments_of(images_of(run / "prepare" / split), matrix) for split in ("train", "test"))
    reference, network_hash = check_reference(program, arguments, network, run, train)
    check_scores(program, arguments, run, network, reference, network_hash, frechet(train, test))
    check_pairwise_metrics(program, run, network)
    check_refusals(program, arguments, run, network, other, reference)
    print("passed")


if __name__ == "__main__":
    main()
