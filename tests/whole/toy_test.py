#!/usr/bin/env python3
"""A run on points of the plane: its scores, its report, the same on two ranks, a student more, and what is refused."""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "launch"))
from program import Program, check  # noqa: E402

TINY = {"prepare.train-rows": 1200, "prepare.test-rows": 400, "prepare.shard-rows": 500, "prepare.block-rows": 100, "student.images": 6400,
        "student.batch": 64, "student.network": "sit", "student.patch": 1, "student.heads": 2, "student.learning-rate": 2e-3, "student.channels": 32, "student.depth": 1, "student.ema": 0.9, "student.warmup": 5, "student.validate-rows": 100,
        "evaluate.samples": 200, "evaluate.slice-rows": 50, "evaluate.euler-nfe": "1 4", "evaluate.heun-nfe": 3, "evaluate.dopri5": "false",
        "evaluate.curvature-samples": 50, "evaluate.curvature-steps": 16, "evaluate.likelihood-rows": 60, "evaluate.atol": 1e-3,
        "evaluate.rtol": 1e-3, "pipeline.device": "cpu", "pipeline.threads": 1, "pipeline.ranks": 1}
MAPS = ("shortcut", "consistency", "meanflow")
ENTROPY = 2.831578  # of the eight Gaussians, in nats


def keys(settings):
    words = []
    for key, value in settings.items():
        words += [f"--{key}", *str(value).split()]
    return words


def records(run):
    return json.loads((run / "evaluate" / "results.json").read_text())["records"]


def values(run, student=None, model="student"):
    """By metric and NFE."""
    return {(record["metric"], record["nfe"], record["solver"]): record["value"] for record in records(run)
            if record["model"] == model and record.get("student") == student}


def check_scores(run):
    found = values(run, "independent")
    metrics = {metric for metric, _, _ in found}
    check(metrics >= {"wasserstein_distance", "energy_distance", "log_density", "nats", "curvature"}, f"metrics: {metrics}")
    check(not metrics & {"frechet_distance", "bits_per_dim", "finite_share"}, f"metrics of images: {metrics}")
    check(all(value is not None and math.isfinite(value) for value in found.values()), f"not finite: {found}")
    # The points are at a distance of 2.83 from the middle of the noise, whose own points are at 1.25 in the mean.
    check(found["wasserstein_distance", 4, "euler"] < 1.2, f"the student is no better than noise: {found}")
    real = values(run, model="real")
    check(abs(real["nats", 0, ""] - ENTROPY) < 0.5, f"nats of the data's own density: {real}")
    check(real["wasserstein_distance", 0, ""] < found["wasserstein_distance", 1, "euler"], "samples beat held-out points")
    known = next(record for record in records(run) if record["model"] == "real" and record["metric"] == "nats")
    check(abs(known["entropy"] - ENTROPY) < 1e-5, f"entropy: {known}")
    nats = next(value for (metric, _, _), value in found.items() if metric == "nats")
    check(ENTROPY - 0.5 < nats < 6, f"negative log-likelihood {nats}")


def check_report(run, students):
    page = (run / "report" / "report.html").read_text()
    check('class="plane"' in page and "Wasserstein distance" in page and "Fréchet" not in page, "the page has no panels, or distances of images")
    points = json.loads((run / "report" / "report.json").read_text())["points"]
    kinds = {model["student"]: [panel["kind"] for panel in model["panels"]] for model in points["models"]}
    check(kinds[None] == ["density", "samples"], f"panels of the data: {kinds}")
    for student in students:
        check(kinds[student] == ["density", "samples", "samples", "paths"] + 3 * ["field"], f"panels of {student}: {kinds}")
    panels = points["models"][1]["panels"]
    half = panels[0]["half"]
    cell = (2 * half / panels[0]["density"]["side"])**2
    mass = cell * sum(panels[0]["density"]["values"])
    check(0.8 < mass < 1.2, f"the learnt density has mass {mass}")
    check(len(panels[1]["points"]) == 200 and len(panels[1]["points"][0]) == 2, "points of a panel")
    check("drawing" not in panels[0], "drawings are the page's")


def check_flow_maps(program, run):
    """Flow maps from the weights of a student of velocities, which one step leads to the middle of the points: theirs leads on."""
    before = records(run)
    own = [word for name in MAPS for word in (f"--student.{name}.objective", name, f"--student.{name}.init-from", "independent",
                                              f"--student.{name}.map-share", 0.5, f"--student.{name}.images", 25600)]
    program.works("run", "--run-dir", run, "--student.compare", "independent", "ot", "likelihood", *MAPS, "--evaluate.euler-nfe", 1, 2, 4, *own)
    made = values(run, "independent")
    check(all(record in records(run) for record in before if record.get("student") == "independent"), "scores were made again")
    for name in MAPS:
        found = {nfe: values(run, name)["wasserstein_distance", nfe, "euler"] for nfe in (1, 2, 4)}
        check(all(math.isfinite(value) for value in found.values()), f"{name}: {found}")
        check(found[1] < 0.85 * made["wasserstein_distance", 1, "euler"], f"one step of {name}: {found}, of velocities: {made}")


def refusals(program, config, work):
    start = ["run", "--config", config, "--run-dir", work / "refused"]
    program.refuses(2, ["prepare.toy", "moonz", "moons"], *start, "--prepare.toy", "moonz")
    program.refuses(2, ["prepare.codec = uint8", "float32", "float"], *start, "--prepare.codec", "uint8")
    program.refuses(2, ["prepare.format = idx", "uint8", "prepare.codec = float"], *start, "--prepare.format", "idx")
    program.refuses(2, ["prepare.train-rows", "-1"], *start, "--prepare.train-rows=-1")
    program.refuses(2, ["student.patch", "1"], *start, "--student.network", "sit", "--student.heads", 2, "--student.patch", 2)
    program.refuses(2, ["evaluate.network", "prepare.format = toy"], *start, "--evaluate.network", __file__)
    check(not (work / "refused" / "prepare").exists(), "work was done before the refusal")


def main():
    parser = argparse.ArgumentParser()
    for flag in ("couplet", "config", "mpiexec", "work"):
        parser.add_argument(f"--{flag}", required=True)
    arguments = parser.parse_args()
    work = Path(arguments.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program = Program(arguments.couplet, arguments.mpiexec)
    refusals(program, arguments.config, work)
    runs = {}
    for ranks in (1, 2):
        runs[ranks] = work / f"ranks-{ranks}"
        one = TINY | {"pipeline.ranks": ranks, "student.compare": "independent"}
        printed = program.works("run", "--config", arguments.config, "--run-dir", runs[ranks], *keys(one))
        check("Wasserstein distance" in printed and "Fréchet" not in printed, printed)
    check_scores(runs[1])
    check_report(runs[1], ["independent"])
    for shard in (runs[1] / "prepare").rglob("*.h5"):
        check(shard.read_bytes() == (runs[2] / shard.relative_to(runs[1])).read_bytes(), f"{shard.name} differs between ranks")
    for key, value in values(runs[1], "independent").items():
        other = values(runs[2], "independent")[key]
        check(abs(other - value) < 0.02 * (1 + abs(value)), f"{key}: {value} on one rank, {other} on two")
    before = records(runs[1])
    program.works("run", "--run-dir", runs[1], "--student.compare", "independent", "ot", "likelihood",
                  "--student.likelihood.images", 256, "--student.likelihood.batch", 64, "--student.likelihood.learning-rate", 1e-4)
    check([record for record in records(runs[1]) if record in before] == before, "scores were made again")
    check_report(runs[1], ["independent", "ot", "likelihood"])
    trained = values(runs[1], "likelihood")["nats", *next(key[1:] for key in values(runs[1], "likelihood") if key[0] == "nats")]
    check(ENTROPY - 0.5 < trained < 6, f"negative log-likelihood of a flow that is trained by it: {trained}")
    check_flow_maps(program, runs[1])
    for command in ("inspect", "verify"):
        shown = program.works(command, runs[1] / "prepare" / "train")
        check(command == "verify" or "float32" in shown, shown)
    program.refuses(2, ["points of the plane", "prepare.format = toy"], "sample", "--run-dir", runs[1], "--model", "ot-0", "--output", work / "samples.npz")
    print("a run on points: passed")


if __name__ == "__main__":
    main()
