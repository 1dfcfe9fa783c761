"""Tables that the package writes and reads: rows, ranges of values, damage, versions."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import unittest
from typing import Any
from unittest import mock

import h5py
import numpy as np
from support import LAYOUT, ROWS, FolderTest, flip_byte, pairs

from couplet_table import Shard, Table, TableError, _json_text, verify, write_coupling
from couplet_table import table as table_module


def sum_in_child(table: Table) -> int:
    return int(table.read("label").sum())


class Reading(FolderTest):
    def test_rows_in_any_order(self) -> None:
        arrays = pairs()
        with Table(self.write()) as table:
            self.assertEqual((len(table), table.shards, table.format), (ROWS, 3, "couplet-coupling"))
            self.assertEqual(list(table.columns), ["noise", "image", "label", "sample", "flip", "replicate"])
            random = np.random.default_rng(0)
            for rows in (random.permutation(ROWS), [5, 5, 1099, 0, 511, 512], np.arange(500, 600), [], [1024]):
                for name in ("noise", "image", "label"):
                    self.assertTrue(np.array_equal(table.read(name, rows), arrays[name][np.array(rows, int)]), name)
            self.assertTrue(np.array_equal(table[600:900:3]["image"], arrays["image"][600:900:3]))
            self.assertTrue(np.array_equal(table[7]["noise"], arrays["noise"][7]))
            iterated = [row["sample"] for row in table]
            self.assertEqual(iterated, list(range(ROWS)))
            self.assertEqual([first for first, _ in table.blocks(["label"])][-2:], [1024, 1088])
            for bad in (ROWS, -1):
                with self.assertRaisesRegex(IndexError, f"no row {bad}"):
                    table.read("label", [3, bad])
            with self.assertRaisesRegex(TableError, "no column 'nll'; its columns are noise, image"):
                table.read("nll")

    def test_a_block_is_read_once(self) -> None:
        path = self.write()
        read: list[int] = []
        with Shard(path / "shard-00000-of-00003.h5") as shard:
            true_read = shard.read_at
            with mock.patch.object(shard, "read_at", lambda out, at: (read.append(out.nbytes), true_read(out, at))):
                shard.take("image", np.random.default_rng(0).permutation(192))
                self.assertEqual(read, 3 * [64 * 192])
                read.clear()
                shard.take("image", [400, 3])  # two rows, and their checksums
                self.assertEqual(sorted(read), [8, 8, 192, 192])

    def test_values(self) -> None:
        arrays = pairs()
        table = Table(self.write())
        sigma = np.sqrt(np.mean(arrays["noise"].astype("f8") ** 2))
        self.assertAlmostEqual(table.sigma_f, sigma, places=12)
        np.testing.assert_allclose(table.noise([3]), arrays["noise"][3:4] / sigma, rtol=1e-6)
        np.testing.assert_allclose(table.images([3]), arrays["image"][3:4] / 127.5 - 1, atol=1e-6)
        np.testing.assert_allclose(table.images([3], "unit"), arrays["image"][3:4] / 255, atol=1e-6)
        self.assertTrue(np.array_equal(table.images([3], "grey"), arrays["image"][3:4]))
        floats = Table(self.write("floats", image=pairs(image_type="f4")["image"]))
        self.assertEqual(floats.images([3], "stored").dtype, np.float32)
        self.assertTrue(np.array_equal(floats.images(None, "grey"), arrays["image"]))
        np.testing.assert_allclose(floats.images([3], "unit"), arrays["image"][3:4] / 255, atol=1e-6)
        with Table(self.folder / "floats" / "shard-00001-of-00003.h5") as shard:
            self.assertTrue(np.array_equal(shard.labels(), arrays["label"][512:1024]))
            self.assertAlmostEqual(shard.sigma_f, 2, places=1)

    def test_other_processes(self) -> None:
        table = Table(self.write())
        expected = int(pairs()["label"].sum())
        self.assertEqual(sum_in_child(table), expected)
        self.assertEqual(sum_in_child(pickle.loads(pickle.dumps(table))), expected)
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                self.assertEqual(pool.apply(sum_in_child, (table,)), expected)

    def test_files_that_are_open_elsewhere(self) -> None:
        path = self.write() / "shard-00000-of-00003.h5"
        with h5py.File(path, "r"), Shard(path) as shard, h5py.File(path, "r"):
            self.assertTrue(np.array_equal(shard.read("label"), pairs()["label"][:512]))

    def test_many_shards_stay_closed(self) -> None:
        write_coupling(self.folder / "many", **pairs(200), shard_rows=2, block_rows=2)
        table = Table(self.folder / "many")
        with mock.patch.object(table_module, "MOST_OPEN_SHARDS", 5):
            self.assertTrue(np.array_equal(table.labels(), pairs(200)["label"]))
            self.assertEqual(len(table._open), 5)


class Damage(FolderTest):
    def test_a_flipped_byte(self) -> None:
        path = self.write()
        name = "shard-00001-of-00003.h5"
        with Shard(path / name) as shard:
            offset = shard.offset("image") + 70 * 192 + 5
        flip_byte(path / name, offset)
        found = [str(problem) for problem in verify(path)]
        self.assertEqual(len(found), 1)
        self.assertIn("column 'image' is damaged in rows 64 to 127 (rows 576 to 639 of the table)", found[0])
        table = Table(path)
        with self.assertRaisesRegex(
            TableError, f"{name}: column 'image' is damaged in row 70, .* checksum .* expected"
        ):
            table.read("image", [582])
        with self.assertRaisesRegex(TableError, "damaged in rows 64 to 127"):
            table.read("image", slice(576, 640))
        with self.assertRaisesRegex(TableError, "damaged in row 70"):
            table.read("image", slice(580, 584))
        self.assertEqual(len(table.read("image", slice(583, 900))), 317)
        self.assertEqual(len(Table(path, verify=False).read("image")), ROWS)

    def test_files_that_are_no_shards(self) -> None:
        path = self.write()
        shard = path / "shard-00000-of-00003.h5"
        whole = shard.read_bytes()
        for data, message in (
            (b"", "truncated: the file is empty"),
            (whole[:20], "truncated: 20 bytes"),
            (whole[:-1], rf"truncated: {len(whole) - 1} bytes, expected {len(whole)}"),
            (whole + b"x", "has trailing bytes"),
            (b"no" + whole, "is no HDF5 file"),
        ):
            shard.write_bytes(data)
            with self.assertRaisesRegex(TableError, f"{shard}.*{message}"):
                Table(path).labels()
            self.assertRegex(str(verify(path)[0]), message)
        shard.unlink()
        self.assertRegex(str(verify(path)[0]), "missing: rows 0 to 511 are a hole")
        with self.assertRaisesRegex(TableError, "cannot open to read"):
            Table(path).labels()

    def test_newer_versions(self) -> None:
        path = self.write()
        shard = path / "shard-00000-of-00003.h5"
        with h5py.File(shard, "r+", libver=("v108", "v108")) as file:
            file.attrs.modify("format_version", 3)
        with self.assertRaisesRegex(TableError, r"format version 3 \(written by Couplet .*\), .* up to version 2"):
            Table(path).labels()
        manifest = json.loads((path / "manifest.json").read_text()) | {"format_version": 2}
        (path / "manifest.json").write_text(_json_text.indented(manifest))
        with self.assertRaisesRegex(TableError, "manifest.json: has format version 2 .* up to version 1"):
            Table(path)

    def test_version_1_has_checksums_of_blocks_alone(self) -> None:
        path, arrays = self.write() / "shard-00000-of-00003.h5", pairs()
        with h5py.File(path, "r+", libver=("v108", "v108")) as file:
            file.attrs.modify("format_version", 1)
            del file["row_checksums"]
        self.assertEqual(verify(path), [])
        with Shard(path) as shard:
            self.assertTrue(np.array_equal(shard.take("image", [70, 3]), arrays["image"][[70, 3]]))
            self.assertTrue(np.array_equal(shard.read("image", 60, 100), arrays["image"][60:160]))
            flip_byte(path, shard.offset("image") + 70 * 192)
            for read in (lambda: shard.take("image", [100]), lambda: shard.read("image", 100, 5)):
                with self.assertRaisesRegex(TableError, r"damaged in rows 64 to 127 \(block 1\)"):
                    read()
        self.assertEqual(len(verify(path)), 1)

    def test_manifests(self) -> None:
        path = self.write()
        text = (path / "manifest.json").read_text()
        for changed, message in (
            (text.replace('"rows": 1100', '"rows": 1101'), "was damaged or edited"),
            (text[:-20], "is no JSON"),
            ("{}", "has no key 'format'"),
            ('{"format": "x", "format": "y"}', 'has the key "format" twice'),
            ("[" * 5000 + "]" * 5000, "more than 32 levels"),
        ):
            (path / "manifest.json").write_text(changed)
            with self.assertRaisesRegex(TableError, f"manifest.json: .*{message}"):
                Table(path)
        (path / "manifest.json").unlink()
        with self.assertRaisesRegex(TableError, "does not exist: the table is not finished"):
            Table(path)
        self.assertEqual(
            [str(problem) for problem in verify(path)], ["manifest.json: missing: the table is not finished"]
        )

    def test_a_mixture(self) -> None:
        path, other = self.write(), self.write("other", noise=pairs()["noise"] + np.float32(1))
        shutil.copy(other / "shard-00001-of-00003.h5", path)
        with self.assertRaisesRegex(TableError, 'provenance.source_hash is ".*", expected'):
            Table(path).read("label", [600])
        self.assertRegex(str(verify(path)[0]), "is not the shard that belongs here: provenance.source_hash")


class Writing(FolderTest):
    def refuses(self, message: str, **changes: Any) -> None:
        with self.assertRaisesRegex(TableError, message):
            write_coupling(self.folder / "refused", **(pairs(40) | changes))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_what_is_refused(self) -> None:
        noise, image = pairs(40)["noise"], pairs(40, "f4")["image"]
        bad = noise.copy()
        bad[17, 0, 0, 0] = np.nan
        self.refuses("array 'noise': row 17 holds NaN", noise=bad)
        self.refuses(r"array 'noise' is int64 \[40\]; expected float16", noise=np.zeros(40, int))
        self.refuses(r"array 'image' is float32 \[39, 3, 8, 8\]", image=image[:39])
        self.refuses(r"expected images on \[-1, 1\] \(of images on \[0, 1\]", image=np.abs(image))
        self.refuses("array 'image': row 0 holds values that no model sees", image=image * 127.5 + 127.5)
        self.refuses("array 'label': row 3 holds a label", label=np.where(np.arange(40) == 3, -1, 0))
        self.refuses("array 'noise' is 0 everywhere", noise=np.zeros_like(noise))

    def test_nothing_is_overwritten(self) -> None:
        path = self.write()
        before = (path / "manifest.json").read_bytes()
        with self.assertRaisesRegex(TableError, "exists already"):
            self.write()
        self.assertEqual((path / "manifest.json").read_bytes(), before)
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["table"])

    def test_from_files_in_slices(self) -> None:
        arrays = pairs(ROWS, "f8")
        with h5py.File(self.folder / "source.h5", "w") as file:
            for name, values in arrays.items():
                file[name] = values
            write_coupling(self.folder / "t", file["noise"], file["image"], file["label"], **LAYOUT)
        table = Table(self.folder / "t")
        self.assertEqual(table.column("image").type, "float32")
        self.assertTrue(np.array_equal(table.read("image"), arrays["image"].astype("f4")))
        self.assertEqual(verify(self.folder / "t"), [])

    def test_equal_rows_give_equal_bytes(self) -> None:
        one, other = self.write("one"), self.write("other")
        names = sorted(path.name for path in one.iterdir())
        self.assertEqual(len(names), 4)
        for name in names:
            self.assertEqual((one / name).read_bytes(), (other / name).read_bytes())


if __name__ == "__main__":
    unittest.main()
