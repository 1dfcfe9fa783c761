#!/usr/bin/env python3
"""Epochs of a coupling table in shuffled order: table_reader.py TABLE, then a line for each epoch: `package` for the loader of python/, whose
order and windows are the program's, or `h5py` for single rows by h5py, whose files stay open. Answers with the seconds it took.
"""

import json
import sys
import time
from pathlib import Path

import h5py
import numpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
from couplet_table import BlockLoader, Table  # noqa: E402

COLUMNS = ("noise", "image", "label")


def total(values):
    """So that every byte of noise and images was looked at."""
    return values.reshape(-1).view(numpy.uint64).sum(dtype=numpy.uint64) if values.ndim > 1 else values.sum()


def with_package(loader):
    for batch in loader:
        for name in COLUMNS:
            total(batch[name])


def with_h5py(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    files = [h5py.File(directory / shard["name"], "r") for shard in manifest["shards"]]
    columns = [[file[name] for name in COLUMNS] for file in files]

    def epoch():
        for row in numpy.random.default_rng(1).permutation(manifest["rows"]):
            shard, within = divmod(int(row), manifest["shard_rows"])
            for data in columns[shard]:
                total(numpy.atleast_1d(data[within]))

    return epoch


def main():
    directory = Path(sys.argv[1])
    loader = BlockLoader(Table(directory), 256, COLUMNS, window_blocks=8, seed=1, stored=True)
    sides = {"package": lambda: with_package(loader), "h5py": with_h5py(directory)}
    for line in sys.stdin:
        start = time.perf_counter()
        sides[line.strip()]()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
