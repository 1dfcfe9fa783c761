#!/usr/bin/env python3
"""couplet inspect against numpy, scipy and h5py: a tiny run's coupling table, every figure computed anew from the shards."""

import argparse
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from png_file import read_png  # noqa: E402
from program import Program, check  # noqa: E402

ROWS = 400  # 200 images and their mirror images
TINY = {"prepare.train-rows": 200, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "teacher.images": 96, "teacher.batch": 48, "teacher.ema": "0.999 0.9", "couple.ema": 0.9, "couple.shard-rows": 150, "couple.block-rows": 50,
        "couple.slice-rows": 50, "couple.round-trip": 0.1, "pipeline.device": "cpu"}


def near(found, expected, message, relative=1e-9):
    check(abs(found - expected) <= relative * max(1, abs(expected)), f"{message}: {found}, expected {expected}")


class Inspection(Program):
    def json(self, *words):
        return json.loads(self.works("inspect", *words, "--json"))


def make_run(program, config, run):
    keys = [word for key, value in TINY.items() for word in (f"--{key}", value)]
    for stage in ("prepare", "teacher", "couple"):
        program.works("stage", stage, "--run-dir", run, "--config", config, *keys)


def read_columns(shards):
    files = [h5py.File(path, "r") for path in shards]
    return {name: np.concatenate([file[name][:] for file in files]) for name in files[0] if not name.endswith("checksums")}


def sample_rows(rows, most):
    """The rows that RowSample (method/statistics/normality.h) takes."""
    n = min(rows, most)
    start = [i * rows // n for i in range(n + 1)]
    turn = [(i + 0.5) * 0.6180339887498949 for i in range(n)]
    return [start[i] + int((turn[i] % 1) * (start[i + 1] - start[i])) for i in range(n)]


def check_scalars(found, values, message):
    values = values.astype(np.float64)
    check(found["rows"] == len(values), f"{message}: rows")
    for name, expected in (("mean", values.mean()), ("minimum", values.min()), ("maximum", values.max())):
        near(found[name], expected, f"{message} {name}")
    for level, value in found["quantiles"].items():
        near(value, np.quantile(values, float(level)), f"{message} quantile {level}")
    counts, edges = np.histogram(values, bins=20)
    check(found["histogram"]["counts"] == counts.tolist(), f"{message} histogram")
    check(np.allclose(found["histogram"]["edges"], edges, rtol=1e-12), f"{message} edges")


def check_statistics(found, columns, sigma):
    """`found` is the object "couplings"; z = noise / sigma."""
    f = columns["noise"].astype(np.float64)
    x = columns["image"] / 127.5 - 1
    near(found["sigma_f"], np.sqrt(np.mean(f**2)), "sigma_f")
    noise = found["noise"]
    for name, expected in (("mean", f.mean()), ("variance", f.var()), ("skewness", stats.skew(f, axis=None)),
                           ("excess_kurtosis", stats.kurtosis(f, axis=None))):
        near(noise[name], expected, f"noise {name}")
    for c, channel in enumerate(noise["channels"]):
        near(channel["mean"], f[:, c].mean(), f"mean of channel {c}")
        near(channel["variance"], f[:, c].var(), f"variance of channel {c}")
    z = f / sigma
    near(found["correlation"]["horizontal"], np.corrcoef(z[..., :-1].ravel(), z[..., 1:].ravel())[0, 1], "horizontal")
    near(found["correlation"]["vertical"], np.corrcoef(z[:, :, :-1].ravel(), z[:, :, 1:].ravel())[0, 1], "vertical")
    near(found["transport_cost"]["mean"], ((z - x)**2).reshape(len(z), -1).sum(1).mean(), "transport cost")
    near(found["transport_cost"]["independent_noise"], z[0].size + (x**2).reshape(len(z), -1).sum(1).mean(), "independent")
    rows = sample_rows(len(z), 2**20 // z[0].size)
    test = stats.kstest(z[rows].ravel(), "norm")
    values = found["normality"]["values"]
    check(values["rows"] == len(rows), "rows tested")
    near(values["statistic"], test.statistic, "Kolmogorov-Smirnov D")
    check(abs(values["p_value"] - test.pvalue) < 1e-3, f"p {values['p_value']}, expected {test.pvalue}")
    # Other directions than the program's, so only alike: the largest D of as many.
    random = np.random.default_rng(1)
    flat = z.reshape(len(z), -1)
    largest = max(stats.kstest(flat @ (u / np.linalg.norm(u)), "norm").statistic
                  for u in random.standard_normal((64, flat.shape[1])))
    projections = found["normality"]["projections"]
    check(projections["projections"] == 64 and projections["rows"] == len(z), "projections")
    check(0.5 * largest < projections["largest_statistic"] < 2 * largest,
          f"largest D {projections['largest_statistic']}, of other directions {largest}")
    check_scalars(found["nll"], columns["nll"], "nll")
    measured = columns["round_trip"][columns["round_trip"] >= 0]
    check(len(measured) > 0 and found["round_trip"]["not_measured"] == len(z) - len(measured), "rows not measured")
    check_scalars(found["round_trip"], measured, "round_trip")


def check_quality(found, columns, sigma):
    """`found` is the object "quality": of all rows, which are fewer than those that a coupling is judged by."""
    z = columns["noise"].astype(np.float32).astype(np.float64).reshape(len(columns["noise"]), -1) / sigma
    x = (columns["image"] / 127.5 - 1).reshape(len(z), -1)
    label = columns["label"]
    check((found["rows"], found["nonfinite_rows"], found["repeated_rows"]) == (len(z), 0, 0), "rows judged")
    squared = ((z - x)**2).sum(1)
    cost = found["transport_cost"]
    near(cost["squared"], squared.mean(), "squared distance", 1e-5)
    near(cost["distance"], np.sqrt(squared).mean(), "distance", 1e-5)
    independent = (z**2).sum(1).mean() + (x**2).sum(1).mean() - 2 * z.mean(0) @ x.mean(0)
    near(cost["independent_squared"], independent, "of independent pairs", 0.03)
    normality = found["normality"]
    for name, expected in (("mean", z.mean()), ("variance", z.var()), ("skewness", stats.skew(z, axis=None)),
                           ("excess_kurtosis", stats.kurtosis(z, axis=None)), ("mean_spread", z.mean(0).std()),
                           ("variance_spread", z.var(0).std()), ("statistic", stats.kstest(z.ravel(), "norm").statistic)):
        near(normality[name], expected, f"quality: {name}", 1e-5)
    by_class = {c: stats.kstest(z[label == c].ravel(), "norm").statistic for c in np.unique(label)}
    check([c["label"] for c in normality["classes"]] == list(by_class), "classes")
    for c in normality["classes"]:
        near(c["statistic"], by_class[c["label"]], f"D of class {c['label']}", 1e-5)
    near(normality["worst_class_statistic"], max(by_class.values()), "largest D", 1e-5)
    between = sum((label == c).sum() * ((z[label == c].mean(0) - z.mean(0))**2).sum() for c in by_class)
    explained, expected = between / ((z - z.mean(0))**2).sum(), (len(by_class) - 1) / (len(z) - 1)
    near(found["label"]["explained"], explained, "explained by the label", 1e-5)
    near(found["label"]["dependence"], (explained - expected) / (1 - expected), "dependence on the label", 1e-5)
    crossing = found["crossing"]
    check(crossing["projected_from"] == 784 and crossing["regressors"] == (len(z) - len(by_class)) // 2, "regressors")
    check(0 < crossing["share"] < 1.1 and len(crossing["shares"]) == 5, f"crossing {crossing['share']}")


def check_gap(found, columns, sigma, table):
    """`found` is the object "gap": of the training rows and of those of the split beside them."""
    held_out = read_columns(sorted((table.parent / "test").glob("*.h5")))
    rows = {}
    for split, read in (("train", columns), ("test", held_out)):
        rows[split] = read["noise"].astype(np.float32).astype(np.float64).reshape(len(read["noise"]), -1) / sigma, read["label"].astype(int)
    trained, labels = rows["train"]
    d = trained.shape[1]
    means = np.zeros((labels.max() + 1, d))
    variances = np.ones_like(means)
    for c in np.unique(labels):
        of_class, n = trained[labels == c], (labels == c).sum()
        if n > 1:  # one row's worth of unit variance is added
            means[c], variances[c] = of_class.mean(0), (n * of_class.var(0) + 1) / (n + 1)
    for split, (z, label) in rows.items():
        gap, squares = found[split], (z**2).sum(1)
        check((gap["rows"], gap["nonfinite_rows"]) == (len(z), 0), f"{split}: rows of the gap")
        log_density = stats.norm.logpdf(z).sum(1)
        near(gap["log_density"]["value"], log_density.mean(), f"{split}: log-density", 1e-9)
        near(gap["log_density"]["standard_error"], log_density.std(ddof=1) / np.sqrt(len(z)), f"{split}: its error", 1e-6)
        near(gap["normal_log_density"], -d / 2 * (1 + np.log(2 * np.pi)), f"{split}: of N(0, I)", 1e-9)
        near(gap["square"]["value"], squares.mean() / d, f"{split}: |z|²/d", 1e-9)
        for name, model in (("class_mean_nats", stats.norm.logpdf(z, means[label])),
                            ("class_deviation_nats", stats.norm.logpdf(z, means[label], np.sqrt(variances[label])))):
            near(gap[name]["value"], (model.sum(1) - log_density).mean(), f"{split}: {name}", 1e-6)
        check(np.isfinite(gap["covariance_nats"]["value"]) and "plain_class_covariance_nats" not in gap, f"{split}: fewer rows a class than values")
        near(gap["nll"]["value"], d * (columns if split == "train" else held_out)["nll"].mean(), f"{split}: nll", 1e-5)
    near(found["nll_difference"]["value"], d * (held_out["nll"].mean() - columns["nll"].mean()), "nll between the splits", 1e-3)
    spectrum = np.linalg.eigvalsh(np.cov(trained.T, bias=True)).clip(0)
    near(found["frechet"], (trained.mean(0)**2).sum() + ((np.sqrt(spectrum) - 1)**2).sum(), "Fréchet distance", 1e-6)
    check([c["label"] for c in found["classes"]] == [c for c in np.unique(labels) if (labels == c).sum() > 1], "classes of the gap")


def check_table(program, table, shards, columns):
    found = program.json(table)
    manifest = json.loads((table / "manifest.json").read_text())
    check(found["rows"] == ROWS and found["shards"] == 3, "rows and shards")
    check(found["bytes"] == sum(path.stat().st_size for path in shards), "bytes")
    check(found["provenance"] == manifest["provenance"], "provenance")
    labels = next(column for column in found["columns"] if column["name"] == "label")
    check({int(k): v for k, v in labels["histogram"].items()} ==
          {int(k): int(v) for k, v in zip(*np.unique(columns["label"], return_counts=True))}, "labels")
    sigma = manifest["summary"]["sigma_f"]
    near(found["couplings"]["manifest_sigma_f"], sigma, "the manifest's sigma_f")
    check(abs(found["couplings"]["sigma_f_relative_difference"]) < 1e-4, "sigma_f against the manifest")
    check_statistics(found["couplings"], columns, sigma)
    check_quality(found["quality"], columns, sigma)
    check_gap(found["gap"], columns, sigma, table)
    check(program.json(table.parent / "test")["gap"] == found["gap"], "the gap of both splits, by either")
    text = program.works("inspect", table)
    for part in ("Kolmogorov-Smirnov", "transport cost", "excess kurtosis", "round_trip", "20 bins", "crossing", "nats gained", "overfitted?",
                 "a bound: by 195 projections of 784 values"):
        check(part in text, f"{part} in the text")
    bare = program.json(table, "--no-quality")
    check("quality" not in bare and "gap" not in bare, "--no-quality")
    check("crossing" not in program.works("inspect", table, "--no-quality"), "--no-quality in the text")


def check_lone_shard(program, shard, folder):
    alone = folder / "alone.h5"
    shutil.copy(shard, alone)
    columns = read_columns([alone])
    found = program.json(alone)
    check(found["rows"] == 150 and found["first_row"] == 150, "rows of a shard")
    check("manifest_sigma_f" not in found["couplings"] and "gap" not in found, "a shard has no manifest")
    sigma = np.sqrt(np.mean(columns["noise"].astype(np.float64)**2))
    check_statistics(found["couplings"], columns, sigma)
    check_quality(found["quality"], columns, sigma)
    picture = folder / "alone.png"
    check("no run directory" in program.works("inspect", alone, "--pictures", picture, "--rows", "0-9"), "no teacher")
    pixels = read_png(picture)
    check(pixels.shape == (28 * 2 + 2, 30 * 16 - 2), f"image and noise of 10 rows: {pixels.shape}")
    check(np.array_equal(panel(pixels, 0, 2), columns["image"][1, 0]), "second image")
    z = columns["noise"][1, 0].astype(np.float64) / np.sqrt(np.mean(columns["noise"].astype(np.float64)**2))
    drawn = np.clip((z / 3 + 1) * 127.5, 0, 255)
    check(np.abs(panel(pixels, 0, 3) - drawn).max() <= 0.51, "second noise")


def check_row(program, table, shards, columns):
    manifest = json.loads((table / "manifest.json").read_text())
    for row in (0, 149, 150, ROWS - 1):
        found = program.json(table, "--row", row)
        for name in ("label", "sample", "flip", "replicate"):
            check(found["columns"][name] == columns[name][row], f"row {row}: {name}")
        near(found["columns"]["nll"], float(columns["nll"][row]), f"row {row}: nll")
        near(found["columns"]["round_trip"], float(columns["round_trip"][row]), f"row {row}: round_trip")
        noise, f = found["columns"]["noise"], columns["noise"][row].astype(np.float64)
        near(noise["mean"], f.mean(), f"row {row}: mean")
        near(noise["variance"], f.var(), f"row {row}: variance")
        near(noise["minimum"], f.min(), f"row {row}: minimum")
        near(noise["maximum"], f.max(), f"row {row}: maximum")
        near(noise["z_squared_per_value"], np.mean((f / manifest["summary"]["sigma_f"])**2), f"row {row}: |z|^2/d")
        check(Path(found["file"]) == shards[row // 150] and found["row_of_file"] == row % 150, f"row {row}: file")
        for name, place in found["bytes"].items():
            content = Path(found["file"]).read_bytes()[place["first"]:place["first"] + place["count"]]
            check(content == columns[name][row].tobytes(), f"row {row}: bytes of {name}")
    in_shard = program.json(shards[1], "--row", 7)
    check(in_shard["row_of_table"] == 157 and in_shard["columns"]["sample"] == columns["sample"][157], "row of a shard")
    program.works("inspect", table, "--row", 5)
    program.refuses(2, [f"rows 0 to {ROWS - 1}", "--row 400"], "inspect", table, "--row", ROWS)
    program.refuses(2, ["rows 0 to 149"], "inspect", shards[0], "--row", 150)
    program.refuses(2, ["--row -1"], "inspect", table, "--row=-1")


def check_export(program, table, columns, folder):
    for rows, first, last in ((["--rows", "37-301"], 37, 301), ([], 0, ROWS - 1), (["--rows", "399"], 399, 399)):
        path = folder / "rows.npz"
        program.works("inspect", table, "--export", path, *rows)
        with np.load(path) as arrays:
            check(sorted(arrays) == sorted(columns), "arrays")
            for name, column in columns.items():
                expected = column[first:last + 1]
                check(arrays[name].dtype == expected.dtype, f"{name} is {arrays[name].dtype}")
                check(np.array_equal(arrays[name], expected), f"{name} of rows {first} to {last}")
    before = path.read_bytes()
    program.works("inspect", table, "--export", path, "--rows", "399")
    check(path.read_bytes() == before, "equal rows give equal bytes")
    program.refuses(2, ["--rows 0-400", "rows 0 to 399"], "inspect", table, "--export", path, "--rows", "0-400")
    program.refuses(2, ["9-3"], "inspect", table, "--export", path, "--rows", "9-3")
    program.refuses(2, [".npz"], "inspect", table, "--export", folder / "rows.h5")
    program.refuses(1, ["none", "rows.npz"], "inspect", table, "--export", folder / "none" / "rows.npz")
    program.refuses(2, ["--export"], "inspect", table, "--rows", "0-3")
    check([entry.name for entry in folder.iterdir() if entry.name.startswith(".partial")] == [], "leftovers")


def panel(pixels, line, column):
    return pixels[30 * line:30 * line + 28, 30 * column:30 * column + 28]


def check_pictures(program, run, columns, folder):
    path = folder / "rows.png"
    text = program.works("inspect", run / "coupling" / "nf" / "train", "--pictures", path, "--rows", "100-109")
    check("only" not in text, f"a teacher: {text}")
    pixels = read_png(path)
    check(pixels.shape == (28 * 2 + 2, 30 * 24 - 2), f"three panels a row: {pixels.shape}")
    for i in (0, 7, 8):
        image = columns["image"][100 + i, 0].astype(np.int64)
        check(np.array_equal(panel(pixels, i // 8, i % 8 * 3), image), f"image {i}")
        # The teacher gives back the image with its noise, of standard deviation 0.05 (6.4 grey levels), clamped.
        distance = np.abs(panel(pixels, i // 8, i % 8 * 3 + 2) - image).mean()
        check(0.1 < distance < 10, f"regenerated image {i}: {distance} grey levels from the image")
    facts = program.json(run / "coupling" / "nf" / "train", "--pictures", path)["pictures"]
    check(facts["rows"] == 64 and facts["regenerated"], "64 rows where none are named")
    check(program.json(run / "coupling" / "nf" / "test", "--pictures", path)["pictures"]["regenerated"], "held-out rows")
    check(not program.json(run / "prepare" / "train", "--pictures", path)["pictures"]["regenerated"], "a data set")

    other = folder / "other"
    shutil.copytree(run, other)
    weights = other / "teacher" / "ema-0.9.safetensors"  # of couple.ema
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    provenance = json.loads((run / "coupling" / "nf" / "train" / "manifest.json").read_text())["provenance"]
    teacher = provenance["teacher"]
    check(provenance["teacher_ema"] == 0.9, f"the average that made the table: {provenance}")
    program.refuses(2, [teacher, str(weights)], "inspect", run / "coupling" / "nf" / "train", "--pictures", path, "--run-dir", other)
    program.refuses(2, ["no run directory"], "inspect", run / "coupling" / "nf" / "train", "--pictures", path, "--run-dir", folder)


def main():
    parser = argparse.ArgumentParser()
    for name in ("couplet", "config", "work"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    work = Path(arguments.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    program, run = Inspection(arguments.couplet), work / "run"
    make_run(program, arguments.config, run)
    table = run / "coupling" / "nf" / "train"
    shards = [table / f"shard-0000{i}-of-00003.h5" for i in range(3)]
    columns = read_columns(shards)
    check_table(program, table, shards, columns)
    check_lone_shard(program, shards[1], work)
    check_row(program, table, shards, columns)
    check_export(program, table, columns, work)
    check_pictures(program, run, columns, work)
    shutil.rmtree(work)
    print("OK")


if __name__ == "__main__":
    main()
