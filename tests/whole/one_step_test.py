#!/usr/bin/env python3
"""Students that make an image in one step, as their users run them: with and without a loss of features; scored at NFE 1 alone; records and report;
stopped and resumed to the byte; samples, export, weights to start from; a network that would score what was trained by it is refused."""

import argparse
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "peers"), str(TESTS / "whole")]
import peer_python  # noqa: E402
from lifecycle_test import TINY, Run, keys  # noqa: E402
from program import Program, check  # noqa: E402

STOPPED = 75  # the exit status of a stage that a time limit has stopped
CONFIG = TINY | {"student.compare": "flow plain felt", "student.coupling": "nf", "student.channels": 24, "student.depth": 1, "student.heads": 2,
                 "student.ema": 0.5, "evaluate.euler-nfe": 2, "evaluate.likelihood-rows": 4, "evaluate.tolerance-samples": 4,
                 "student.plain.kind": "image", "student.plain.init-from": "flow", "student.plain.learning-rate": 0,
                 "student.plain.final-learning-rate": 0,
                 "student.felt.kind": "image", "student.felt.feature-weight": 0.5, "student.felt.train-guidance": 2}
ONE_STEP = ("plain", "felt")

# Of pixels and of images on [-1, 1] alike: gradients flow. The second file holds the first one's weights in another program.
MAKE_NETWORKS = """
import sys, torch

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.matrix = torch.nn.Parameter(torch.randn(12, 28 * 28) / 50)

    def forward(self, images):
        return images[:, :1].float().flatten(1).matmul(self.matrix.t())

class Other(Network):
    def forward(self, images):
        return (images[:, :1].float() / 255).flatten(1).matmul(self.matrix.t())

torch.jit.script(Network()).save(sys.argv[1])
torch.jit.script(Other()).save(sys.argv[2])
"""


def header(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def check_records(run):
    records = json.loads((run.directory / "evaluate/results.json").read_text())["records"]
    summaries = {name: json.loads((run.directory / f"student/{name}-0/summary.json").read_text()) for name in ("flow", *ONE_STEP)}
    scorer = {record["network_hash"] for record in records if record["metric"] == "frechet_distance"}
    for name in ONE_STEP:
        own = [record for record in records if record.get("student") == name]
        check({(record["nfe"], record["solver"]) for record in own} == {(1, "euler")}, f"{name} is scored by more than one step: {own}")
        metrics = {record["metric"] for record in own}
        check({"frechet_distance", "pairing_nearest_rate", "psnr", "teacher_distance", "prior_mismatch"} <= metrics, f"scores of {name}: {metrics}")
        check(not {"curvature", "straightness", "solver_error", "bits_per_dim"} & metrics, f"scores of {name}: {metrics}")
        check({record["split"] for record in own if record["metric"] == "psnr"} == {"train", "test"}, "pairs of both splits")
        check(summaries[name]["kind"] == "image" and summaries[name]["objective"] == "image", f"summary of {name}: {summaries[name]}")
    flow = {record["nfe"] for record in records if record.get("student") == "flow" and record["metric"] == "frechet_distance"}
    check(flow == {2, 3}, f"the flow is scored as it is asked for: {flow}")
    for record in records:
        felt = record.get("student") == "felt"
        check(("loss_network" in record) == felt and ("loss_network_hash" in record) == felt, f"a record names another network of the loss: {record}")
        if felt:
            check(record["loss_network"] == "Fashion-MNIST second classifier", record["loss_network"])
            check(record["loss_network_hash"] == summaries["felt"]["loss_network_hash"] not in scorer, "the network of the loss is the scorer's")
    check("loss_network" not in summaries["plain"], "a loss without features has no network")
    accuracy = json.loads((run.directory / "loss-features/summary.json").read_text())["test_accuracy"]
    check(0 < accuracy <= 1, f"accuracy of the second classifier: {accuracy}")


def check_report(run):
    report = json.loads((run.directory / "report/report.json").read_text())["scores"]
    check(report["nfe"] == [1, 2, 3], f"columns: {report['nfe']}")
    for curve in report["curves"]:
        there = [cell["score"]["nfe"] for cell in curve["cells"] if cell["score"]]
        check(there == [1] if curve["student"] in ONE_STEP else there, f"{curve['student']} stands at {there}")
    check({curve["student"] for curve in report["curves"]} == {"flow", *ONE_STEP}, "a student is missing in the report")


def check_resumed(run):
    """Stopped, and gone on with, it ends in the same bytes."""
    again = run.copy("stopped")
    shutil.rmtree(again.directory / "student/felt-0")
    stopped = again.call("stage", "student/felt-0", "--pipeline.time-limit", 0.001)
    check(stopped.returncode == STOPPED, f"was to stop: {stopped.returncode} {stopped.stderr[-2000:]}")
    check(not (again.directory / "student/felt-0/weights.safetensors").exists(), "it has stopped and has published weights")
    again.works("stage", "student/felt-0")
    for name in ("weights.safetensors", "ema.safetensors"):
        one, two = ((r.directory / "student/felt-0" / name).read_bytes() for r in (run, again))
        check(one == two, f"{name} is another one after a stop")


def check_samples(program, run, work):
    def sample(name, *words):
        program.works("sample", "--run-dir", run.directory, "--model", "felt-0", "--count", 20, "--output", work / name, *words)
        return (work / name).read_bytes()

    check(sample("a.npz") == sample("b.npz", "--nfe", 1) == sample("c.npz", "--solver", "euler"), "one step")
    for words in (("--nfe", 4), ("--solver", "heun", "--nfe", 3), ("--solver", "heun", "--nfe", 1), ("--solver", "sde", "--nfe", 1), ("--solver", "dopri5"),
                  ("--grid", "squared"), ("--times", "0,0.5,1")):
        program.refuses(2, ["felt-0 makes a sample in one step", "--grid"], "sample", "--run-dir", run.directory, "--model", "felt-0",
                        "--output", work / "none.npz", *words)


def check_weights(program, run, work):
    """What starts from a flow's weights, and learns nothing, has them; the export says what they are."""
    own, flow = (header(run.directory / f"student/{name}-0/{file}.safetensors") for name, file in (("plain", "weights"), ("flow", "ema")))
    check(own[1] == flow[1], "init-from takes other weights")
    check(own[0]["__metadata__"]["kind"].startswith("image"), "the weights do not say that they are a one-step student's")
    program.works("export", "--run-dir", run.directory, "--model", "plain-0", "--ema", 0, "--output", work / "plain.safetensors")
    exported = header(work / "plain.safetensors")
    said = exported[0]["__metadata__"]
    check(said["kind"] == "image" and "-model(z, time, label)" in said["output"] and said["time"].startswith("0"), f"metadata: {said}")


def check_networks(program, arguments, run):
    python, environment = peer_python.find(arguments.torch, arguments.compiler, arguments.work / "cuda")
    network, other, copied = (arguments.work / f"{name}.pt" for name in ("network", "other", "copied"))
    script = arguments.work / "make_networks.py"
    script.write_text(MAKE_NETWORKS)
    subprocess.run([python, script, network, other], env=environment, check=True, timeout=100)
    shutil.copy(network, copied)
    mine = {"student.compare": "mine", "student.mine.coupling": "independent", "student.mine.kind": "image", "student.mine.feature-weight": 0.5,
            "student.mine.feature-network": network, "student.mine.feature-range": "unit"}
    new = arguments.work / "refused"

    def refuses(parts, settings):
        program.refuses(2, parts, "run", "--run-dir", new, *keys(CONFIG | mine | settings))

    for file in (network, copied):
        refuses(["student.mine.feature-network", "is the network of evaluate.network"], {"evaluate.network": file})
    refuses(["no-such-file.pt"], {"student.mine.feature-network": arguments.work / "no-such-file.pt"})
    refuses(["student.mine.feature-weight = 0.5", "latents"], {"latents.codec": "autoencoder", "teacher.flips": "false",
                                                             "couple.flips": "false", "student.patch": 1})
    check(not new.exists(), "refused after some work")
    # Their files differ, their weights do not: found out by the evaluation.
    users = run.copy("users")
    done = users.call("run", *keys(mine | {"evaluate.network": other}))
    said = done.stdout + done.stderr
    check(done.returncode != 0 and "other.pt scores the student mine" in said, f"status {done.returncode}: {said[-3000:]}")
    # The built-in classifier scores what the user's network has trained.
    users.works("run", *keys(mine), "--evaluate.network", "")
    records = json.loads((users.directory / "evaluate/results.json").read_text())["records"]
    named = {record["loss_network"] for record in records if record.get("student") == "mine"}
    check(named == {"network.pt"}, f"records name {named}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    program, run = Program(arguments.couplet), Run(arguments.couplet, arguments.work / "run")
    run.works("run", *keys(CONFIG))
    run.complete()
    check_records(run)
    check_report(run)
    check_resumed(run)
    check_samples(program, run, arguments.work)
    check_weights(program, run, arguments.work)
    check_networks(program, arguments, run)
    print("passed")


if __name__ == "__main__":
    main()
