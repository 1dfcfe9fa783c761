"""Tables of the program and of the package, each read by the other. COUPLET names the program; skipped without it."""

from __future__ import annotations

import json
import shutil
import unittest
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from support import LAYOUT, PROGRAM, ROWS, FolderTest, flip_byte, pairs, run_program

from couplet_table import Shard, Table, TableError, verify, write_coupling

TINY = {
    "prepare.format": "toy",
    "prepare.codec": "float",
    "prepare.train-rows": 400,
    "prepare.test-rows": 100,
    "prepare.shard-rows": 200,
    "prepare.block-rows": 50,
    "student.network": "mlp",
    "student.channels": 16,
    "student.depth": 1,
    "student.images": 640,
    "student.batch": 32,
    "student.preview-every": 0,
    "student.validate-rows": 20,
    "evaluate.samples": 40,
    "evaluate.slice-rows": 20,
    "evaluate.euler-nfe": 1,
    "evaluate.heun-nfe": 3,
    "evaluate.dopri5": "false",
    "evaluate.curvature-samples": 8,
    "evaluate.curvature-steps": 4,
    "evaluate.likelihood-rows": 0,
    "pipeline.device": "cpu",
    "pipeline.threads": 1,
    "pipeline.ranks": 1,
}


@unittest.skipUnless(PROGRAM, "COUPLET, the program, is unset")
class Program(FolderTest):
    def imported(self, image_type: str = "u1") -> None:
        np.savez(self.folder / "a.npz", **pairs(ROWS, image_type))
        layout = ("--shard-rows", LAYOUT["shard_rows"], "--block-rows", LAYOUT["block_rows"])
        run_program("import", self.folder / "a.npz", "--output", self.folder / "theirs", *layout)

    def problems_by_program(self, name: str, status: int) -> list[tuple[str, str]]:
        found = json.loads(run_program("verify", self.folder / name, "--json", status=status))["problems"]
        return [(problem["file"], problem["what"]) for problem in found]

    def problems(self, name: str, status: int) -> list[tuple[str, str]]:
        """What the program says of a table, which the package must say too."""
        theirs = self.problems_by_program(name, status)
        ours = [(problem.file, problem.what) for problem in verify(self.folder / name)]
        self.assertEqual(ours, theirs)
        return theirs

    def test_the_same_files(self) -> None:
        for image_type in ("u1", "f2", "grey"):
            self.imported(image_type)
            theirs = Table(self.folder / "theirs")
            assert theirs.manifest
            write_coupling(
                self.folder / "ours",
                **pairs(ROWS, image_type),
                **LAYOUT,
                source="a.npz",
                source_hash=theirs.provenance["source_hash"],
                program_version=theirs.manifest["program_version"],
            )
            for file in sorted((self.folder / "theirs").iterdir()):
                ours = self.folder / "ours" / file.name
                if file.suffix == ".h5":
                    self.compare_shards(file, ours)
                # Another HDF5 library may place what it writes elsewhere.
                if h5py.version.hdf5_version.startswith("1.10."):
                    self.assertEqual(ours.read_bytes(), file.read_bytes(), file.name)
            self.assertEqual(self.problems("ours", 0), [])
            for name in ("ours", "theirs"):
                shutil.rmtree(self.folder / name)

    def compare_shards(self, one: object, other: object) -> None:
        with h5py.File(one) as theirs, h5py.File(other) as ours:
            self.assertEqual(list(theirs), list(ours))
            self.assertEqual(dict(theirs.attrs), dict(ours.attrs))
            names: list[str] = []
            theirs.visit(names.append)
            data = [name for name in names if isinstance(theirs[name], h5py.Dataset)]
            self.assertEqual(len(data), 18)
            for name in data:
                self.assertEqual(dict(theirs[name].attrs), dict(ours[name].attrs))
                self.assertEqual(theirs[name].dtype, ours[name].dtype)
                self.assertTrue(np.array_equal(theirs[name][()], ours[name][()]), name)

    def test_reads_what_the_program_exports(self) -> None:
        self.imported()
        exported = self.folder / "rows.npz"
        run_program("inspect", self.folder / "theirs", "--export", exported, "--rows", "300-900")
        table = Table(self.folder / "theirs")
        with np.load(exported) as arrays:
            self.assertEqual(sorted(arrays), sorted(table.columns))
            for name, values in table.take(slice(300, 901)).items():
                self.assertTrue(np.array_equal(values, arrays[name]), name)

    def test_the_program_reads_ours(self) -> None:
        self.write()
        self.assertEqual(self.problems("table", 0), [])
        found = json.loads(run_program("inspect", self.folder / "table", "--json", "--no-quality"))
        self.assertLess(abs(found["couplings"]["sigma_f_relative_difference"]), 1e-12)

    def test_both_find_the_same_damage(self) -> None:
        def damaged(name: str) -> str:
            shutil.copytree(self.folder / "table", self.folder / name)
            return name

        path = self.write()
        with Shard(path / "shard-00001-of-00003.h5") as shard:
            places = [
                shard.offset("noise") + 1000,
                shard.offset("label") + 9,
                shard.offset("image") - 1,
                shard.bytes - 7,
            ]
        for i, place in enumerate(places):
            flip_byte(self.folder / damaged(f"flipped-{i}") / "shard-00001-of-00003.h5", place)
            if i < 3:
                ((file, _),) = self.problems(f"flipped-{i}", 1)
            else:  # what HDF5 finds; its words differ from one release to another
                ((file, theirs),) = self.problems_by_program(f"flipped-{i}", 1)
                (problem,) = verify(self.folder / f"flipped-{i}")
                self.assertEqual(problem.file, file)
                for what in (problem.what, theirs):
                    self.assertIn("incorrect metadata checksum", what)
            self.assertEqual(file, "shard-00001-of-00003.h5")
        cut = self.folder / damaged("cut") / "shard-00002-of-00003.h5"
        cut.write_bytes(cut.read_bytes()[:-100])
        (self.folder / "cut" / "shard-00000-of-00003.h5").unlink()
        self.assertEqual(len(self.problems("cut", 1)), 2)
        (self.folder / damaged("open") / "manifest.json").unlink()
        self.assertEqual(len(self.problems("open", 1)), 1)
        swapped = self.folder / damaged("swapped")
        shutil.copy(swapped / "shard-00000-of-00003.h5", swapped / "shard-00001-of-00003.h5")
        self.assertIn("is not the shard that belongs here: first_row is 0", self.problems("swapped", 1)[0][1])

    def test_a_student_trains_on_ours(self) -> None:
        run = self.folder / "run"
        words = [word for key, value in TINY.items() for word in (f"--{key}", *str(value).split())]
        mine = ["--student.compare", "mine", "loom", "--student.mine.coupling", "imported"]
        mine += ["--couple.mine.source", str(self.folder / "mine")]
        run_program("stage", "prepare", "--run-dir", run, *words, "--student.compare", "independent")
        data = Table(run / "prepare" / "train")
        self.assertEqual((data.format, len(data)), ("couplet-dataset", 400))
        noise = np.random.default_rng(0).standard_normal((400, *data.column("image").shape)).astype("f4")
        write_coupling(self.folder / "mine", noise, data.images(), data.labels(), shard_rows=100, block_rows=10)
        run_program("run", "--run-dir", run, *words, *mine)
        self.assertTrue((run / "report" / "report.html").exists())
        losses = [json.loads(line) for line in (run / "student" / "mine-0" / "metrics.jsonl").read_text().splitlines()]
        self.assertTrue(any("loss" in line for line in losses))
        self.check_seeds(run / "student" / "loom-0" / "seeds", data)

    def check_seeds(self, path: Path, data: Table) -> None:
        self.assertEqual(self.problems(str(path), 0), [])
        table, labels = Table(path), data.labels()
        self.assertEqual((table.format, len(table) % len(data)), ("couplet-seeds", 0))
        self.assertTrue(np.array_equal(table.labels(), labels[table.read("sample")]))
        shape = data.column("image").shape
        noise = table.noise(None, shape)
        self.assertEqual(noise.shape, (len(table), *shape))
        page = Path(__file__).resolve().parents[2] / "docs" / "coupling-table.md"
        specified: dict[str, Any] = {}
        exec(page.read_text().split("```python\n")[-1].split("```")[0], specified)
        for row, number in ((0, table.read("noise_id", [0])[0]), (-1, table.read("noise_id")[-1])):
            expected = specified["noise"](table.provenance["seed"], int(number), shape)
            np.testing.assert_allclose(noise[row], expected, rtol=1e-6, atol=1e-7)
        self.assertEqual(len(np.unique(noise, axis=0)), len(table))
        self.assertAlmostEqual(float(np.mean(noise.astype("f8") ** 2)), 1, delta=6 * np.sqrt(2 / noise.size))
        with self.assertRaisesRegex(TableError, "takes the shape of a row"):
            table.noise([0])


if __name__ == "__main__":
    unittest.main()
