"""What a run directory holds, wherever it lies there: weights, tables, records of scores. Nothing of the program is used."""

import json
import math
import os
import re
from pathlib import Path

import h5py
import numpy as np

# A score stands twice: among all scores of the run, and among those of its model.
SCORE_FILES = ("results.json", "records.json")


class Unreadable(Exception):
    """A file of a run is damaged, or a table is not finished."""


def find_files(root, wanted):
    """Paths of the files that `wanted` accepts by name. Links are followed, and unfinished files are left out."""
    for folder, folders, names in os.walk(root, followlinks=True):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names) if wanted(name) and not name.startswith("."))


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {error}") from error


# Weights


class Weights:
    """A safetensors file: the length of its header, the header, and the values of all tensors."""

    def __init__(self, path):
        self.path = path
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                self.header, self.base = json.loads(file.read(size)), 8 + size
        except (OSError, ValueError) as error:
            raise Unreadable(f"{path}: {error}") from error
        self.header.pop("__metadata__", None)
        self.tensors = {name: (tensor["dtype"], tensor["shape"]) for name, tensor in self.header.items()}

    def read(self, name):
        """The bytes of a tensor, a row for each of its values."""
        begin, end = self.header[name]["data_offsets"]
        with self.path.open("rb") as file:
            file.seek(self.base + begin)
            found = np.frombuffer(file.read(end - begin), np.uint8)
        values = math.prod(self.header[name]["shape"])
        if len(found) != end - begin or len(found) % max(1, values):
            raise Unreadable(f"{self.path}: tensor {name} does not have the bytes that its shape asks for")
        return found.reshape(values, -1) if values else found


def stage_of(path, root):
    """(name, options) of the stage that made the file, as its record says; without one, the folder is the name."""
    for folder in path.relative_to(root).parents:
        if (root / folder / "stage.json").exists():
            record = read_json(root / folder / "stage.json")
            return record["stage"], record.get("keys", {})
    return str(path.parent.relative_to(root)), {}


def model_key(path, root):
    """The model's role, and which of its weights the file holds: raw ones, or averages of which rate."""
    stage, options = stage_of(path, root)
    key, sections = {"role": stage}, [stage]
    student = re.search(r"(?:^|/)student/(.+)[-/](\d+)$", stage)
    if student:
        key = {"role": "student", "name": student[1], "seed": int(student[2])}
        sections = [f"student.{student[1]}", "student"]
    key["file"], _, rate = path.stem.partition("-")
    if path.stem == "ema":  # The name does not tell the rate: it is the first one of the option.
        rates = [options[f"{section}.ema"] for section in sections if f"{section}.ema" in options] + [""]
        rate = re.split("[ ,]+", rates[0])[0]
    return {**key, "rate": rate} if rate else key


def find_models(root):
    """(published models, weights of checkpoints), both as (key, weights).

    Statistics of images are no weights, and the scores that are made of them tell of them.
    """
    published, checkpoints = [], []
    for path in find_files(root, lambda name: name.endswith(".safetensors")):
        key, weights = model_key(path, root), Weights(path)
        if key["role"].startswith("evaluate") or {"count", "sum", "outer"} <= weights.tensors.keys():
            continue
        step = re.search(r"/checkpoints/step-(\d+)/", str(path))
        if step:
            checkpoints.append(({**key, "step": int(step[1])}, weights))
        else:
            published.append((key, weights))
    return published, checkpoints


# Tables


class Table:
    """A directory of row shards, read as one table. `columns`: name -> type and shape of a row."""

    def __init__(self, manifest_path, manifest):
        self.format, self.provenance = manifest["format"], manifest["provenance"]
        self.columns, self.rows, self.shards = {}, 0, []
        for shard in manifest["shards"]:
            self.add_shard(manifest_path.parent / shard["name"])
        if self.rows != manifest["rows"]:
            raise Unreadable(f"{manifest_path} tells {manifest['rows']} rows, but the shards hold {self.rows}")

    def add_shard(self, path):
        with open_shard(path) as file:
            columns = {name: (data.dtype.str, data.shape[1:]) for name, data in file.items() if not name.endswith("checksums")}
            rows, first = int(file.attrs["rows"]), int(file.attrs["first_row"])
            if any(len(file[name]) != rows for name in columns) or columns != (self.columns or columns) or first != self.rows:
                raise Unreadable(f"{path}: its rows do not go on where those of the shard before it end")
        self.columns = columns
        self.shards.append((path, first, first + rows))
        self.rows += rows

    def row_bytes(self, column):
        kind, shape = self.columns[column]
        return np.dtype(kind).itemsize * math.prod(shape)

    def read(self, column, first, last):
        """The bytes of rows `first` to `last` - 1."""
        parts = []
        for path, begin, end in self.shards:
            if begin < last and first < end:
                with open_shard(path) as file:
                    parts.append(file[column][max(first - begin, 0) : last - begin])
        return np.concatenate(parts).reshape(last - first, -1).view(np.uint8)


def open_shard(path):
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise Unreadable(f"{path}: {error}") from error


def find_tables(root):
    tables, finished = [], set()
    for path in find_files(root, lambda name: name == "manifest.json"):
        manifest = read_json(path)
        if "shards" in manifest:
            tables.append(Table(path, manifest))
            finished.add(path.parent)
    for path in find_files(root, re.compile(r"shard-\d+-of-\d+\.h5").fullmatch):
        if path.parent not in finished:
            raise Unreadable(f"{path}: its table has no manifest, so it is not finished")
    return tables


# Scores


def flat(record, prefix=""):
    """The fields of nested objects, as "outer.inner"."""
    fields = {}
    for name, value in record.items():
        fields.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    return fields


def records_in(value):
    """All records in a JSON value, however deep: objects that have a metric and a value."""
    if isinstance(value, dict) and {"metric", "value"} <= value.keys():
        yield flat(value)
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from records_in(inner)


def find_records(root):
    """Name of a file -> the records in all files of that name; names without any are left out."""
    found = {name: [] for name in SCORE_FILES}
    for path in find_files(root, found.__contains__):
        found[path.name].extend(records_in(read_json(path)))
    return {name: records for name, records in found.items() if records}
