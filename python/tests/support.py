"""What the tests share: the package, from the source tree where it is not installed, and tables to look at."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import numpy as np

try:
    import couplet_table
except ImportError:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import couplet_table

ROWS, SHAPE = 1100, (3, 8, 8)
LAYOUT: dict[str, Any] = {"shard_rows": 512, "block_rows": 64}
PROGRAM = os.environ.get("COUPLET")  # the program `couplet`


def pairs(rows: int = ROWS, image_type: str = "u1") -> dict[str, Any]:
    """Noise, images and labels by chance."""
    random = np.random.default_rng(3)
    grey = random.integers(0, 256, (rows, *SHAPE))
    if image_type in ("u1", "grey"):  # grey: as floats
        image = grey.astype("u1" if image_type == "u1" else "f4")
    else:
        image = (grey / 127.5 - 1).astype(image_type)
    noise = (2 * random.standard_normal((rows, *SHAPE))).astype("f4")
    return {"noise": noise, "image": image, "label": random.integers(0, 10, rows)}


def flip_byte(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


class FolderTest(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, name: str = "table", **changes: Any) -> Path:
        """Writes a table of ROWS rows in three shards."""
        arrays = pairs() | changes
        couplet_table.write_coupling(self.folder / name, **arrays, **LAYOUT)
        return self.folder / name


def run_program(*words: Any, status: int = 0) -> str:
    """Runs the program, which must end with this status; returns what it prints."""
    assert PROGRAM
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=300)
    if done.returncode != status:
        raise AssertionError(f"{words}: status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout
