#!/usr/bin/env python3
"""`couplet score` on images made here: every form of them, 1, 2 and 3 ranks, figures against numpy and scipy, what is refused."""

import argparse
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.signal
from scipy.spatial.distance import cdist

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "peers")]
import peer_python  # noqa: E402
from program import Program, check  # noqa: E402
from table_images import images_of  # noqa: E402

FEATURES, CLASSES, SPATIAL = 12, 5, 7
TRAIN, TEST, SAMPLES = 300, 120, 150

# Features as they are, class scores and spatial features in a dict; or, as they must not be, probabilities.
MAKE_NETWORK = """
import sys, torch
from typing import Dict

class Network(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.matrix = torch.nn.Parameter(torch.randn(28 * 28, 12) / 8)
        self.classes = torch.nn.Parameter(torch.randn(12, 5) / 4)
        self.spatial = torch.nn.Parameter(torch.randn(28 * 28, 7) / 8)

    def forward(self, images) -> Dict[str, torch.Tensor]:
        assert images.shape[1] == 1, "one channel"
        x = (images.float() / 255).flatten(1)
        features = x.matmul(self.matrix)
        return {"features": features, "logits": features.matmul(self.classes), "spatial": x.matmul(self.spatial)}

class Probabilities(Network):
    def forward(self, images) -> Dict[str, torch.Tensor]:
        return {"features": torch.softmax((images.float() / 255).flatten(1).matmul(self.matrix), 1)}

folder = sys.argv[1]
for seed, name in enumerate(("network", "other")):
    torch.jit.script(Network(seed)).save(f"{folder}/{name}.pt")
torch.jit.script(Probabilities(0)).save(f"{folder}/probabilities.pt")
import numpy
numpy.savez(f"{folder}/weights.npz", **{name: tensor.detach().numpy() for name, tensor in Network(0).named_parameters()})
"""


def png(image):
    """Bytes of a PNG file of uint8 [H, W] or [H, W, 3]."""
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 2 if image.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in image)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def save_npz(path, images):
    np.savez(path, images.transpose(0, 2, 3, 1))
    return path


def save_folder(path, images):
    path.mkdir()
    for i, image in enumerate(images):
        (path / f"{i:04}.png").write_bytes(png(image[0]))
    return path


class Described:
    """What the network says of images, in float64."""

    def __init__(self, images, weights):
        x = images.reshape(len(images), -1) / 255
        self.features = x @ weights["matrix"].astype(np.float64)
        self.logits = self.features @ weights["classes"].astype(np.float64)
        self.spatial = x @ weights["spatial"].astype(np.float64)


def frechet(a, b):
    difference = a.mean(0) - b.mean(0)
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(difference @ difference + np.trace(one + other - 2 * scipy.linalg.sqrtm(one @ other).real))


def kernel_distance(a, b):
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1)**3
    within = lambda x: (kernel(x, x).sum() - np.trace(kernel(x, x))) / (len(x) * (len(x) - 1))
    return within(a) + within(b) - 2 * kernel(a, b).mean()


def subset_distances(a, b, rows):
    draws = np.random.RandomState(2020)
    distances = []
    for _ in range(100):
        of_a = a[draws.choice(len(a), rows, replace=False)]
        distances.append(kernel_distance(of_a, b[draws.choice(len(b), rows, replace=False)]))
    return np.mean(distances), np.std(distances)


def balls(a, b):
    """Precision, recall, density, coverage of a against b."""
    radii = lambda x, neighbour: np.sort(cdist(x, x), axis=1)[:, neighbour]
    across = cdist(b, a)  # [real, generated]
    dense = across < radii(b, 5)[:, None]
    return ((across <= radii(b, 3)[:, None]).any(0).mean(), (across <= radii(a, 3)[None]).any(1).mean(),
            dense.sum(0).mean() / 5, dense.any(1).mean())


def inception_score(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p = p[np.random.RandomState(2020).permutation(len(p))]
    scores = []
    for split in range(10):
        part = p[split * len(p) // 10:(split + 1) * len(p) // 10]
        scores.append(np.exp((part * (np.log(part) - np.log(part.mean(0)))).sum(1).mean()))
    return np.mean(scores), np.std(scores)


def similarities(a, b):
    """Mean PSNR and SSIM of pairs of grey images."""
    a, b = a[:, 0].astype(np.float64), b[:, 0].astype(np.float64)
    psnr = 10 * np.log10(255**2 / ((a - b)**2).mean((1, 2)))
    line = np.exp(-np.arange(-5, 6)**2 / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum()**2
    mean = lambda image: scipy.signal.convolve2d(image, window, mode="valid")
    c1, c2 = (0.01 * 255)**2, (0.03 * 255)**2
    ssim = []
    for x, y in zip(a, b):
        mx, my = mean(x), mean(y)
        vx, vy, cov = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
        ssim.append(((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean())
    return psnr.mean(), np.mean(ssim)


def expected_scores(samples, real, held_out):
    precision, recall, density, coverage = balls(samples.features, real.features)
    nearest = lambda x: np.median(cdist(x, real.features).min(1))
    return {"frechet_distance": frechet(samples.features, real.features),
            "spatial_frechet_distance": frechet(samples.spatial, real.spatial),
            "kernel_distance": kernel_distance(samples.features, real.features),
            "inception_score": inception_score(samples.logits)[0],
            "precision": precision, "recall": recall, "density": density, "coverage": coverage,
            "nearest_training_ratio": nearest(samples.features) / nearest(held_out.features)}


class Score:
    def __init__(self, program, network):
        self.program, self.network = program, network

    def words(self, samples, reference, *more):
        return ("score", "--samples", samples, "--reference", reference, "--network", self.network, *more)

    def json(self, samples, reference, *more, ranks=1):
        """The whole object, and the scores by name."""
        words = self.words(samples, reference, *more, "--json")
        done = self.program.call(*words, ranks=ranks)
        check(done.returncode == 0, f"{words}: status {done.returncode}: {done.stderr[-2000:]}")
        found = json.loads(done.stdout)
        for warning in found["warnings"]:
            told = done.stderr.count(f"warning: {warning}\n")
            check(told == 1, f"warned {told} times on stderr: {warning}: {done.stderr}")
        return found, {score["metric"]: score for score in found["scores"]}

    def refuses(self, part, samples, reference, *more, status=2):
        self.program.refuses(status, [part], *self.words(samples, reference, *more))


def same_digits(one, other, what):
    check(one.keys() == other.keys(), f"{what}: {list(one)} and {list(other)}")
    for metric, score in one.items():
        for field, value in score.items():
            close = abs(value - other[metric][field]) <= 1e-8 * abs(value) if isinstance(value, float) else value == other[metric][field]
            check(close, f"{what}: {metric}, {field}: {value} and {other[metric][field]}")


def near(found, expected, tolerance, what):
    check(abs(found - expected) <= tolerance * abs(expected), f"{what}: {found}, expected {expected}")


def check_figures(score, files, sets):
    """Against numpy and scipy; the same on 1, 2 and 3 ranks, and in every form of the same images."""
    (all_of, found), held_out = score.json(files["npz"], files["train"], "--held-out", files["test"]), ("--held-out", files["test"])
    samples, real, test = sets
    expected = expected_scores(samples, real, test)
    check(set(found) == set(expected), f"scores: {sorted(found)}, expected {sorted(expected)}")
    for metric, value in expected.items():
        # Shares are of 150 or 300 rows, of which float32 features may turn one over.
        near(found[metric]["value"], value, 0.02 if metric in ("precision", "recall", "density", "coverage") else 1e-4, metric)
        check(metric == "nearest_training_ratio" or 0.01 < abs(value), f"{metric} = {value} shows nothing")
    kernel, inception = found["kernel_distance"], found["inception_score"]
    mean, deviation = subset_distances(samples.features, real.features, SAMPLES)
    near(kernel["subset_mean"], mean, 1e-4, "mean over subsets")
    near(kernel["subset_sd"], deviation, 1e-2, "standard deviation over subsets")
    check((kernel["subsets"], kernel["subset_size"], kernel["reference_samples"], kernel["samples"]) == (100, SAMPLES, TRAIN, SAMPLES), f"{kernel}")
    near(inception["split_sd"], inception_score(samples.logits)[1], 1e-3, "standard deviation over splits")
    check(found["precision"]["neighbours"] == 3 and found["coverage"]["neighbours"] == 5, "neighbours")
    check(all_of["samples"]["images"] == SAMPLES and all_of["network"]["name"] == "network.pt" and all_of["network"]["hash"], f"{all_of['samples']}, {all_of['network']}")
    check(any("150 samples is biased" in warning for warning in all_of["warnings"]), f"no warning of few samples: {all_of['warnings']}")
    for ranks in (2, 3):
        same_digits(found, score.json(files["npz"], files["train"], *held_out, ranks=ranks)[1], f"{ranks} ranks")
    same_digits(found, score.json(files["folder"], files["train npz"], *held_out)[1], "a folder of PNG files and an npz")
    text = score.program.works(*score.words(files["npz"], files["train"]))
    check(f"{found['frechet_distance']['value']:.8g}" in text and "kernel_distance" in text, f"not told: {text}")


def check_limit(score, files, sets):
    """Image by image, 100 of each set: samples that are drawn, reference images at even distances."""
    samples, real, _ = sets
    _, found = score.json(files["npz"], files["train"], "--pairwise-images", 100)
    near(found["frechet_distance"]["value"], frechet(samples.features, real.features), 1e-4, "Fréchet distance, 100 images compared")
    some = real.features[np.arange(100) * TRAIN // 100]
    drawn = np.sort(np.random.RandomState(2020).permutation(SAMPLES)[:100])
    near(found["kernel_distance"]["value"], kernel_distance(samples.features[drawn], some), 1e-4, "kernel distance of 100 images")
    check(found["precision"]["samples"] == found["precision"]["reference_samples"] == 100, f"{found['precision']}")
    check("kernel_distance" not in score.json(files["npz"], files["train"], "--pairwise-images", 0)[1], "0 images are compared")


def check_statistics(score, files, sets):
    expected = frechet(sets[0].features, sets[1].features)
    _, real = score.json(files["npz"], files["train"])
    for path, warnings in ((files["statistics"], ("statistics of them alone",)), (files["foreign"], ("statistics of them alone", "foreign.npz"))):
        all_of, found = score.json(files["npz"], path)
        near(found["frechet_distance"]["value"], expected, 1e-4, f"Fréchet distance to {path.name}")
        check("kernel_distance" not in found, f"pairs from statistics: {list(found)}")
        for warning in warnings:
            check(any(warning in line for line in all_of["warnings"]), f"{path.name}: {warning!r} not in {all_of['warnings']}")
    near(score.json(files["npz"], files["statistics"])[1]["frechet_distance"]["value"], real["frechet_distance"]["value"], 1e-8, "images and their statistics")


def check_both(score, files, sets):
    """A file of images, and of statistics of other ones, as ADM's reference batches are."""
    samples, real, test = sets
    all_of, found = score.json(files["npz"], files["both"], "--held-out", files["test"])
    near(found["frechet_distance"]["value"], frechet(samples.features, test.features), 1e-4, "Fréchet distance to the statistics")
    near(found["kernel_distance"]["value"], kernel_distance(samples.features, real.features), 1e-4, "kernel distance to the images")
    check("nearest_training_ratio" in found and found["recall"]["reference_samples"] == TRAIN, f"{found}")
    check(not any("alone" in line for line in all_of["warnings"]), f"{all_of['warnings']}")


def check_pairs(score, files, images):
    """Samples are training images with noise, in their order."""
    noised, train, _ = images
    words = ("score", "--samples", files["npz"], "--reference", files["first"], "--paired", "--nearest", 2, "--json")
    found = json.loads(score.program.works(*words))
    scores = {entry["metric"]: entry["value"] for entry in found["scores"]}
    psnr, ssim = similarities(noised, train[:SAMPLES])
    near(scores["psnr"], psnr, 1e-9, "PSNR")
    near(scores["ssim"], ssim, 1e-9, "SSIM")
    distances = cdist(noised.reshape(SAMPLES, -1).astype(float), train[:SAMPLES].reshape(SAMPLES, -1).astype(float))
    near(scores["nearest_distance"], distances.min(1).mean(), 1e-9, "distance to the nearest image")
    order = np.argsort(distances, axis=1)[:, :2]
    check([row["images"] for row in found["nearest"]] == order.tolist(), "not the nearest images")
    named = files["npz"].parent / os.fsdecode(b"gr\xfc.npz")
    shutil.copy(files["npz"], named)
    found = json.loads(score.program.works("score", "--samples", named, "--reference", files["first"], "--paired", "--json"))
    check(found["samples"]["path"].endswith("gr\\xFC.npz"), f"a path that is no UTF-8: {found['samples']}")


def check_refusals(score, files, work, images):
    noised, train, _ = images
    npz, reference = files["npz"], files["train"]
    empty = work / "empty"
    empty.mkdir()
    score.refuses("empty: holds no images", empty, reference)
    score.refuses("no images", save_npz(work / "none.npz", noised[:0]), reference)
    score.refuses("does not exist", work / "missing.npz", reference)
    floats = noised.astype(np.float32) / 127.5 - 1
    floats[3, 0, 5, 5] = floats[7, 0, 1, 1] = np.nan
    score.refuses("2 of its 150 rows with NaN or infinite values; expected uint8", save_npz(work / "floats.npz", floats), reference)
    mixed = save_folder(work / "mixed", noised[:20])
    (mixed / "0007.png").write_bytes(png(np.zeros((32, 28), np.uint8)))
    score.refuses("a set's images are of one size", mixed, reference)
    (mixed / "0007.png").write_bytes(b"no picture")
    score.refuses("0007.png: is no PNG file", mixed, reference, status=1)
    (mixed / "0007.png").write_bytes(png(noised[7, 0])[:200])
    score.refuses("0007.png", mixed, reference, status=1)
    done = score.program.call(*score.words(mixed, reference), ranks=2)
    check(done.returncode != 0 and done.stderr.count("0007.png") == 1, f"a damaged file on one of two ranks: {done.returncode}, {done.stderr}")
    score.refuses("needs at least 13", save_npz(work / "few.npz", noised[:12]), reference)
    score.refuses("needs at least 13", npz, work / "few.npz")
    np.savez(work / "dimension.npz", mu=np.zeros(5), sigma=np.eye(5))
    score.refuses("5 features", npz, work / "dimension.npz")
    np.savez(work / "negative.npz", mu=np.zeros(FEATURES), sigma=-np.eye(FEATURES))
    score.refuses("negative.npz: the covariance (sigma) has the eigenvalue -1", npz, work / "negative.npz")
    other = Score(score.program, files["other network"])
    other.refuses("network.pt", npz, files["statistics"])
    Score(score.program, files["probabilities"]).refuses("probabilities", npz, reference)
    for flag in (("--paired",), ("--nearest", 1), ("--held-out", reference)):
        score.refuses("statistics of them alone", npz, files["statistics"], *flag)
    score.refuses("150 samples and 300 images", npz, reference, "--paired")
    small = save_npz(work / "small.npz", noised[:, :, :14, :14])
    score.program.refuses(2, ["different sizes", "1x14x14", "1x28x28"], "score", "--samples", small, "--reference", files["first"], "--paired")
    score.program.refuses(2, ["--network FILE"], "score", "--samples", npz, "--reference", reference)


def check_one_class(score, files, work):
    """A run of images without labels trains no classifier whose features could be compared."""
    text = (work / "run/config.ini").read_text()
    (work / "plain.ini").write_text(re.sub(r"(?m)^(train|test)-labels =.*$", r"\1-labels =", text))
    score.program.works("stage", "prepare", "--run-dir", work / "plain", "--config", work / "plain.ini")
    score.program.refuses(2, [str(work / "plain"), "no network of its own", "--network FILE"], "score", "--samples", files["npz"], "--reference",
                          files["train"], "--run-dir", work / "plain")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--mpiexec", required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--torch", required=True, help="directory that holds torch/")
    parser.add_argument("--compiler", required=True, help="C compiler")
    parser.add_argument("--work", type=Path, required=True, help="directory for the files; emptied first")
    arguments = parser.parse_args()
    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    python, environment = peer_python.find(arguments.torch, arguments.compiler, work / "cuda")
    # A file: torch.jit.script reads the source.
    (work / "make_network.py").write_text(MAKE_NETWORK)
    subprocess.run([python, work / "make_network.py", work], env=environment, check=True, timeout=100)
    program = Program(arguments.couplet, arguments.mpiexec)
    program.works("stage", "prepare", "--run-dir", work / "run", "--config", arguments.config, "--prepare.train-rows", TRAIN, "--prepare.test-rows", TEST,
                  "--prepare.shard-rows", 100, "--prepare.block-rows", 50, "--pipeline.device", "cpu")
    train, test = (images_of(work / "run/prepare" / split) for split in ("train", "test"))
    noise = np.random.default_rng(0).normal(0, 20, (SAMPLES, *train.shape[1:]))
    noised = (train[:SAMPLES] + noise).round().clip(0, 255).astype(np.uint8)
    files = {"npz": save_npz(work / "samples.npz", noised), "folder": save_folder(work / "folder", noised),
             "train": work / "run/prepare/train", "test": work / "run/prepare/test", "train npz": save_npz(work / "train.npz", train),
             "both": work / "both.npz", "first": save_npz(work / "first.npz", train[:SAMPLES]), "statistics": work / "statistics.npz", "foreign": work / "foreign.npz",
             "other network": work / "other.pt", "probabilities": work / "probabilities.pt"}
    program.works("reference", files["train"], "--network", work / "network.pt", "--output", files["statistics"])
    sets = [Described(images, np.load(work / "weights.npz")) for images in (noised, train, test)]
    np.savez(files["foreign"], mu=sets[1].features.mean(0), sigma=np.cov(sets[1].features, rowvar=False))
    np.savez(files["both"], mu=sets[2].features.mean(0), sigma=np.cov(sets[2].features, rowvar=False), arr_0=train.transpose(0, 2, 3, 1))
    score = Score(program, work / "network.pt")
    check_figures(score, files, sets)
    check_limit(score, files, sets)
    check_statistics(score, files, sets)
    check_both(score, files, sets)
    check_pairs(score, files, (noised, train, test))
    check_refusals(score, files, work, (noised, train, test))
    check_one_class(score, files, work)
    print("passed")


if __name__ == "__main__":
    main()
