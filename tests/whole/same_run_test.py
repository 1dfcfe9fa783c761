#!/usr/bin/env python3
"""same_run: a tiny run equals its copy, however its parts are moved, and differs from copies in which one thing was changed."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "launch"))

from program import Program, check

TINY = {"prepare.train-rows": 200, "prepare.test-rows": 60, "prepare.shard-rows": 100, "prepare.block-rows": 50,
        "features.images": 240, "features.batch": 24, "features.dimension": 8, "features.validate-rows": 50,
        "teacher.images": 240, "teacher.batch": 24, "teacher.validate-rows": 50, "teacher.preview-every": 0,
        "couple.shard-rows": 150, "couple.block-rows": 50, "couple.slice-rows": 50,
        "student.images": 240, "student.batch": 24, "student.ema": "0.9 0.5", "student.window-blocks": 4,
        "student.validate-rows": 50, "student.preview-every": 0, "evaluate.samples": 50, "evaluate.slice-rows": 25,
        "evaluate.euler-nfe": 2, "evaluate.heun-nfe": 3, "evaluate.curvature-samples": 25, "evaluate.curvature-steps": 2,
        "evaluate.pairing-rows": 20, "pipeline.checkpoint-every": 5, "pipeline.device": "cpu", "pipeline.threads": 1}
MODELS = ("features/weights", "teacher/weights", "teacher/ema", *(f"student/{name}-0/{weights}" for name in ("independent", "nf")
                                                                  for weights in ("weights", "ema", "ema-0.5")))
ROWS = 200 + 60 + 2 * 200 + 60  # images, then pairs of the training images and their mirror images, and of held-out images
COLUMNS = 3 + 3 + 8 + 8


class Cases:
    """Copies of one run, each changed in one way and compared with it."""

    def __init__(self, run):
        self.run, self.count = run, 0

    def compare(self, one, other):
        """Some 20 rows of images are read at a time, which cuts across shards."""
        command = [sys.executable, HERE / "same_run", one, other, "--read-bytes", 16000]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def copy(self):
        self.count += 1
        return Path(shutil.copytree(self.run, self.run.parent / f"copy-{self.count}", symlinks=True))

    def check(self, status, parts, change, *words):
        """Either order of the two runs gives this status and says all the parts."""
        copy = self.copy()
        change(copy, *words)
        for runs in ((self.run, copy), (copy, self.run)):
            found, said = self.compare(*runs)
            message = f"{change.__name__} {words}: status {found}, expected {status} and {parts}: {said}"
            check(found == status and all(part in said for part in parts), message)
            check(len(said.splitlines()) <= 26, f"{change.__name__} {words}: too many lines: {said}")
        shutil.rmtree(copy)
        print(f"{change.__name__} {words}: status {status}", flush=True)


# Changes


def nothing(run):
    pass


def flip_bit(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def flip_last_weight(run, path):
    """The highest byte of the file's last value, in its lowest bit."""
    flip_bit(run / path, -1)


def flip_checkpoint(run):
    flip_bit(sorted((run / "teacher" / "checkpoints").glob("step-*/ema.safetensors"))[-1], -1)


def delete_checkpoints(run):
    for folder in list(run.rglob("checkpoints")):
        shutil.rmtree(folder)


def flip_row(run, path, column, row):
    with h5py.File(run / path, "r") as shard:
        data = shard[column]
        place = data.id.get_offset() + row * data[0].nbytes
    flip_bit(run / path, place)


def edit_header(run, path, change):
    """Applies `change` to the header of a safetensors file."""
    content = (run / path).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    (run / path).write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])


def drop_tensor(run, path):
    edit_header(run, path, lambda header: header.pop(max(header.keys() - {"__metadata__"})))


def reshape_tensor(run, path):
    def reshape(header):
        tensor = header[max(header.keys() - {"__metadata__"})]
        tensor["shape"] = [1, *tensor["shape"]]

    edit_header(run, path, reshape)


def remove(run, path):
    shutil.rmtree(run / path) if (run / path).is_dir() else (run / path).unlink()


def truncate(run, path):
    content = (run / path).read_bytes()
    (run / path).write_bytes(content[: len(content) // 2])


def edit_scores(run, change, names=("results.json", "records.json")):
    """Applies `change` to the list of records in every file of these names."""
    for path in (run / "evaluate").rglob("*.json"):
        if path.name in names:
            records = json.loads(path.read_text())["records"]
            path.write_text(json.dumps({"records": change(records)}))


def is_chosen(record):
    fields = ("student", "metric", "solver", "grid", "noise")
    return [record.get(field) for field in fields] == ["nf", "frechet_distance", "euler", "uniform", "fresh"]


def scale_score(run, field, factor, *names):
    change = lambda record: {**record, field: record[field] * factor} if is_chosen(record) else record
    edit_scores(run, lambda records: list(map(change, records)), *names)


def scale_all_scores(run):
    edit_scores(run, lambda records: [{**record, "value": 2 * (record["value"] or 1)} for record in records])


def null_score(run):
    edit_scores(run, lambda records: [{**record, "value": None} if is_chosen(record) else record for record in records])


def drop_score(run):
    edit_scores(run, lambda records: [record for record in records if not is_chosen(record)])


def repeat_score(run):
    edit_scores(run, lambda records: records + list(filter(is_chosen, records)))


def drop_all_scores(run):
    edit_scores(run, lambda records: [])


def rename_fields(run):
    """As another version may write the same records: other names, nested objects, further fields, another order."""
    def renamed(record):
        names = {"seed": "training_seed", "ema": "ema_rate"}
        left_out = ("guidance", "guidance_interval", "student", "made_with")
        found = {names.get(name, name): value for name, value in record.items() if name not in left_out}
        guidance = {"scale": record["guidance"], "interval": record["guidance_interval"]}
        return {**found, "guidance": guidance, "seconds": 1.5}

    edit_scores(run, lambda records: list(map(renamed, reversed(records))))


def move_tables(run):
    (run / "coupling" / "nf" / "train").rename(run / "tables")
    (run / "coupling" / "nf" / "test").rename(run / "tables" / "test")


def move_models(run):
    (run / "models").mkdir()
    (run / "teacher").rename(run / "models" / "flow")
    (run / "student" / "nf-0").rename(run / "models" / "student-of-nf")
    (run / "student" / "independent-0" / "ema.safetensors").rename(run / "student" / "independent-0" / "ema-0.9.safetensors")


def edit_manifest(run, path, change):
    manifest = json.loads((run / path / "manifest.json").read_text())
    change(manifest)
    (run / path / "manifest.json").write_text(json.dumps(manifest))


def merge_shards(run, path):
    """One shard in the place of several."""
    manifest, name = json.loads((run / path / "manifest.json").read_text()), "shard-00000-of-00001.h5"
    files = [h5py.File(run / path / shard["name"], "r") for shard in manifest["shards"]]
    with h5py.File(run / path / name, "w") as merged:
        merged.attrs.update({"first_row": 0, "rows": manifest["rows"]})
        for column in files[0].keys() - {"checksums", "row_checksums"}:
            merged[column] = np.concatenate([file[column][:] for file in files])
    for file in files:
        file.close()
    for shard in manifest["shards"]:
        (run / path / shard["name"]).unlink()
    edit_manifest(run, path, lambda manifest: manifest.update({"shards": [{"name": name}]}))


def drop_shard(run, path):
    """A table that is whole, with the rows of its last shard less."""
    def drop(manifest):
        shard = manifest["shards"].pop()
        manifest["rows"] -= shard["rows"]
        (run / path / shard["name"]).unlink()

    edit_manifest(run, path, drop)


def swap_shards(run, path):
    edit_manifest(run, path, lambda manifest: manifest["shards"].reverse())


def drop_column(run, path, column):
    with h5py.File(run / path, "a") as shard:
        del shard[column]


# Checks


def tensors_of(path):
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]


def check_counts(cases):
    """What is printed is what an independent count gives, and none of it is 0."""
    copy = cases.copy()
    status, said = cases.compare(cases.run, copy)
    check(status == 0, f"a run differs from its copy: {said}")
    tensors = [tensors_of(cases.run / f"{model}.safetensors") for model in MODELS]
    size = sum(end - begin for model in tensors for begin, end in model)
    kept = [path for path in cases.run.rglob("checkpoints/step-*/*.safetensors")]
    scores = json.loads((cases.run / "evaluate" / "results.json").read_text())["records"]
    counts = {"models": len(MODELS), "model tensors": sum(map(len, tensors)), "model tensor bytes": size,
              "checkpoint tensors": sum(len(tensors_of(path)) for path in kept), "tables": 4, "rows": ROWS, "columns": COLUMNS,
              "scores": len(scores)}
    check(all(count > 0 for count in counts.values()), f"some counts are 0: {counts}")
    line = "compared: " + ", ".join(f"{count} {what}" for what, count in counts.items())
    check(line in said.splitlines(), f"expected {line!r}, found {said}")
    print(line, flush=True)
    shutil.rmtree(copy)


def check_equal(cases):
    cases.check(0, ["the runs are equal"], nothing)
    cases.check(0, [f" 4 tables, {ROWS} rows"], move_tables)
    cases.check(0, [f" {len(MODELS)} models"], move_models)
    cases.check(0, [f" {ROWS} rows"], merge_shards, "coupling/nf/train")
    cases.check(0, [" 0 checkpoint tensors"], delete_checkpoints)
    cases.check(0, ["note: some records of ", "have the figure seconds"], rename_fields)
    cases.check(0, [], scale_score, "value", 1 + 1e-13)


def check_models(cases):
    nf = "role student, name nf, seed 0"
    cases.check(1, ["differences: 1\n", f"model ({nf}, file ema, rate 0.9): tensor", ": 1 of "], flip_last_weight, "student/nf-0/ema.safetensors")
    cases.check(1, ["differences: 1\n", f"{nf}, file ema, rate 0.5"], flip_last_weight, "student/nf-0/ema-0.5.safetensors")
    cases.check(1, ["differences: 1\n", "role teacher, file weights"], flip_last_weight, "teacher/weights.safetensors")
    cases.check(1, ["differences: 1\n", "role features, file weights"], flip_last_weight, "features/weights.safetensors")
    cases.check(1, ["differences: 1\n", "checkpoint (role teacher, file ema, rate 0.98, step "], flip_checkpoint)
    cases.check(1, ["differences: 1\n", f"{nf}, file weights", "missing in "], drop_tensor, "student/nf-0/weights.safetensors")
    cases.check(1, ["differences: 1\n", f"{nf}, file weights", " [1, "], reshape_tensor, "student/nf-0/weights.safetensors")
    cases.check(1, ["differences: 1\n", f"{nf}, file weights", "has no partner"], remove, "student/nf-0/weights.safetensors")
    cases.check(1, ["cannot be read", "teacher/ema.safetensors"], truncate, "teacher/ema.safetensors")


def check_tables(cases):
    pairs, images = "format couplet-coupling, kind nf, split", "format couplet-dataset, split"
    second, third = (f"coupling/nf/train/shard-0000{shard}-of-00003.h5" for shard in (1, 2))
    cases.check(1, ["differences: 1\n", f"{pairs} train): column noise: 1 of 400 rows differ, first row 157"], flip_row, second, "noise", 7)
    cases.check(1, ["differences: 1\n", f"{pairs} train): column image: 1 of 400 rows differ, first row 399"], flip_row, third, "image", 99)
    cases.check(1, ["differences: 1\n", f"{pairs} test): column label: 1 of 60 rows differ, first row 0"], flip_row,
                "coupling/nf/test/shard-00000-of-00001.h5", "label", 0)
    cases.check(1, ["differences: 1\n", f"{images} test): column image: 1 of 60 rows differ, first row 59"], flip_row,
                "prepare/test/shard-00000-of-00001.h5", "image", 59)
    cases.check(1, ["differences: 1\n", f"{pairs} test) of ", "has no partner"], remove, "coupling/nf/test")
    cases.check(1, ["differences: 1\n", f"{pairs} test): column nll is ", "missing"], drop_column, "coupling/nf/test/shard-00000-of-00001.h5", "nll")
    cases.check(1, ["differences: 1\n", f"{pairs} train): ", "400 ", "300 "], drop_shard, "coupling/nf/train")
    cases.check(1, ["cannot be read", "do not go on"], swap_shards, "coupling/nf/train")
    cases.check(1, ["cannot be read", "has no manifest"], remove, "coupling/nf/train/manifest.json")
    cases.check(1, ["cannot be read", second], remove, second)
    cases.check(1, ["cannot be read", second], truncate, second)


def check_scores(cases):
    score = "score (metric frechet_distance, model student, name nf, seed 0, rate 0.9, solver euler, grid uniform, nfe 2, noise fresh"
    cases.check(1, ["differences: 1\n", score, "value is "], scale_score, "value", 1 + 1e-9)
    cases.check(1, ["differences: 1\n", score, "value is "], scale_score, "value", 1 + 1e-9, ["records.json"])
    cases.check(1, ["differences: 1\n", score, "samples is "], scale_score, "samples", 2)
    cases.check(1, ["differences: 1\n", score, "value is ", "None in "], null_score)
    cases.check(1, ["differences: 1\n", score, "has no partner"], drop_score)
    cases.check(1, [score, "has 2 partners"], repeat_score)
    scores = len(json.loads((cases.run / "evaluate" / "results.json").read_text())["records"])
    cases.check(1, [f"and {scores - 20} more", f"differences: {scores}\n"], scale_all_scores)


def check_refusals(cases):
    cases.check(2, ["nothing to compare", " 0 scores"], drop_all_scores)
    cases.check(2, ["nothing to compare"], remove, "evaluate")
    cases.check(2, ["is no run directory"], remove, "config.ini")
    empty, begun = cases.run.parent / "empty", cases.run.parent / "begun"
    empty.mkdir()
    begun.mkdir()
    shutil.copy(cases.run / "config.ini", begun)
    for runs in ((cases.run, empty), (empty, cases.run), (cases.run, begun), (begun, begun), (cases.run, cases.run / "absent"),
                 (cases.run, cases.run)):
        status, said = cases.compare(*runs)
        check(status == 2, f"{runs}: status {status}, expected 2: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--couplet", required=True)
    parser.add_argument("--config", required=True, help="the smoke preset")
    parser.add_argument("--work", type=Path, required=True, help="directory for the runs; emptied first, removed on success")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    run = arguments.work / "run"
    keys = [word for key, value in TINY.items() for word in (f"--{key}", *str(value).split(" "))]
    Program(arguments.couplet).works("run", "--config", arguments.config, "--run-dir", run, "--ranks", 1, *keys)
    cases = Cases(run)
    check_counts(cases)
    check_equal(cases)
    check_models(cases)
    check_tables(cases)
    check_scores(cases)
    check_refusals(cases)
    shutil.rmtree(arguments.work)
    print("passed")


if __name__ == "__main__":
    main()
