"""Tables that the package writes and reads: rows, ranges of values, damage, versions."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import shutil
import unittest
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
from support import LAYOUT, ROWS, FolderTest, flip_byte, pairs

from couplet_table import (
    Column,
    Shard,
    ShardWriter,
    Table,
    TableError,
    _json_text,
    _xxh3,
    publish_manifest,
    verify,
    write_coupling,
)
from couplet_table import pairs as pairs_module
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

            def counted(out: Any, at: int) -> None:
                read.append(out.nbytes)
                true_read(out, at)

            with mock.patch.object(shard, "read_at", counted):
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

    def test_a_copy_of_a_shard_has_a_file_of_its_own(self) -> None:
        path, labels = self.write() / "shard-00000-of-00003.h5", pairs()["label"][:512]
        copies: Any = (copy.copy, copy.deepcopy, lambda shard: pickle.loads(pickle.dumps(shard)))
        for copied in copies:
            shard = Shard(path, verify=False)
            other = copied(shard)
            shard.close()
            self.assertTrue(np.array_equal(other.read("label"), labels))
            self.assertFalse(other.verify)
            other.close()

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
            reads: Any = (lambda: shard.take("image", [100]), lambda: shard.read("image", 100, 5))
            for read in reads:
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

    def change_manifest(self, path: Path, **changes: Any) -> None:
        """Changes a manifest, which then has its hash."""
        manifest = json.loads((path / "manifest.json").read_text()) | changes
        manifest["hash"] = table_module.manifest_hash(manifest, path)
        (path / "manifest.json").write_text(_json_text.indented(manifest))

    def test_foreign_manifests(self) -> None:
        path = self.write()
        text = (path / "manifest.json").read_text()
        column = {"name": "noise", "type": "float32", "shape": [3, 8, 8], "meaning": "noise"}
        bare = {key: value for key, value in column.items() if key != "meaning"}
        for changes, message in (
            ({"columns": [column, 5]}, "column 1 of its list is 5, expected an object of the texts name"),
            ({"columns": [bare]}, 'column 0 of its list is {"name":"noise".*meaning'),
            ({"columns": [column | {"type": "int8"}]}, 'int8".*, expected .*uint8, int32'),
            ({"columns": [column | {"shape": [3, "8"]}]}, '"8".*expected .*shape, a list of numbers'),
            ({"columns": [column | {"shape": [0]}]}, "expected .*shape, a list of numbers from 1 on"),
            ({"columns": [column | {"name": None}]}, "expected an object of the texts name"),
            ({"summary": [1]}, r"its summary is \[1\], expected an object"),
            ({"block_rows": 0}, "has blocks of 0 rows, expected 1 or more"),
            ({"provenance": 3}, "has 3 under the key 'provenance'"),
        ):
            self.change_manifest(path, **changes)
            with self.assertRaisesRegex(TableError, f"manifest.json: .*{message}"):
                Table(path)
            (path / "manifest.json").write_text(text)
        for changed, message in (
            (text.replace('"arrays"', r'"\ud800"'), "text that is no UTF-8: .*surrogates not allowed"),
            (text.replace('"sigma_f": 2', '"sigma_f": 1e999, "x": 2'), "is no JSON: it holds 1e999"),
        ):
            self.assertNotEqual(changed, text)
            (path / "manifest.json").write_text(changed)
            with self.assertRaisesRegex(TableError, f"manifest.json: .*{message}"):
                Table(path)
            (path / "manifest.json").write_text(text)
        for sigma_f in ("1.5", 0, -1.0, None, True, [2]):
            self.change_manifest(path, summary={"sigma_f": sigma_f})
            with self.assertRaisesRegex(TableError, "table: .* as sigma_f, expected a number above 0"):
                Table(path).noise([0])

    def test_foreign_shards(self) -> None:
        path = self.write() / "shard-00000-of-00003.h5"
        whole = path.read_bytes()

        def changed(change: Any) -> None:
            path.write_bytes(whole)
            with h5py.File(path, "r+", libver=("v108", "v108")) as file:
                change(file)

        def text(name: str, value: bytes) -> Any:
            return lambda file: file.attrs.create(name, np.bytes_(value))

        def guarded(name: str, value: bytes) -> Any:
            def change(file: h5py.File) -> None:
                text(name, value)(file)
                text(name + "_hash", _xxh3.hash128(value).encode())(file)

            return change

        def times(file: h5py.File) -> None:
            h5py.h5d.create(file.id, b"when", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((512,)))

        for change, message in (
            (times, "cannot read the shard's metadata: No NumPy equivalent for TypeTimeID"),
            (text("format", b"couplet-\xff"), "attribute 'format' of the root group is no UTF-8 text: .*0xff"),
            (guarded("provenance", b"[1]"), r"attribute 'provenance' is \[1\], expected a JSON object"),
            (guarded("provenance", rb'{"source": "\udfff"}'), "attribute 'provenance': holds text that is no UTF-8"),
        ):
            changed(change)
            with self.assertRaisesRegex(TableError, f"{path}: {message}"):
                Shard(path)
            self.assertRegex(str(verify(path)[0]), message)
        changed(guarded("summary", b"7"))
        with self.assertRaisesRegex(TableError, f"{path}: its summary is 7, expected an object"):
            Table(path)
        for summary in (b'{"sum_squares": "8", "values": 2}', b'{"sum_squares": 8, "values": 0}', b"{}"):
            changed(guarded("summary", summary))
            with self.assertRaisesRegex(TableError, f"{path}: .* as sigma_f, expected a number above 0"):
                _ = Table(path).sigma_f
        for provenance, message in (
            (b'{"replicates": 0}', "its provenance has 0 as replicates, expected a whole number from 1 on"),
            (b'{"replicates": "2"}', 'has "2" as replicates'),
            (b'{"replicates": 1.5}', "has 1.5 as replicates"),
            (b'{"flips": "no"}', 'has "no" as flips, expected true or false'),
        ):
            changed(guarded("provenance", provenance))
            self.assertRegex(str(verify(path)[0]), f"{path.name}: .*{message}")

    def test_foreign_seeds(self) -> None:
        columns = [Column(name, "int64", (), "number") for name in ("noise_id", "sample")]
        columns += [Column("label", "int32", (), "class"), Column("flip", "uint8", (), "flip")]
        rows = {column.name: np.arange(4).astype(column.dtype) for column in columns}
        provenances: list[tuple[dict[str, Any], str]] = [
            ({"kind": "loom", "slots": -1}, "has -1 as slots, expected a whole number from 0 on"),
            ({"kind": 3}, "has 3 as kind, expected a text"),
            ({"kind": "loom", "seed": 2**63, "generation": None}, "has null as generation"),
        ]
        for i, (provenance, message) in enumerate(provenances):
            path = self.folder / f"seeds-{i}.h5"
            with ShardWriter(path, "couplet-seeds", columns, 0, 4, 4, provenance) as writer:
                writer.write(rows | {"flip": np.zeros(4, "u1")})
                writer.finish({})
            self.assertRegex(str(verify(path)[0]), message)
            if "seed" not in provenance:
                with self.assertRaisesRegex(TableError, f"{path}: its provenance has null as seed, expected a whole"):
                    Table(path).noise([0], (2,))
            else:
                self.assertEqual(Table(path).noise([0], (2,)).shape, (1, 2))

    def test_a_mixture(self) -> None:
        path, other = self.write(), self.write("other", noise=pairs()["noise"] + np.float32(1))
        shutil.copy(other / "shard-00001-of-00003.h5", path)
        with self.assertRaisesRegex(TableError, 'provenance.source_hash is ".*", expected'):
            Table(path).read("label", [600])
        self.assertRegex(str(verify(path)[0]), "is not the shard that belongs here: provenance.source_hash")


def bad_float64(values: Any, row: int) -> Any:
    """The same in float64, with a value that float32 does not hold."""
    values = values.astype("f8")
    values[row, 0, 0, 0] = 1e300
    return values


class Writing(FolderTest):
    def refuses(self, message: str, **changes: Any) -> None:
        before = sorted(self.folder.iterdir())
        with self.assertRaisesRegex(TableError, message):
            write_coupling(self.folder / "refused", **(pairs(40) | changes))
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_what_is_refused(self) -> None:
        noise, image = pairs(40)["noise"], pairs(40, "f4")["image"]
        bad = noise.copy()
        bad[17, 0, 0, 0] = np.nan
        self.refuses("array 'noise': row 17 holds NaN", noise=bad)
        self.refuses(r"array 'noise' is int64 \[40\]; expected float16", noise=np.zeros(40, int))
        self.refuses(r"array 'image' is float32 \[39, 3, 8, 8\]", image=image[:39])
        self.refuses(r"expected images on \[-1, 1\] \(of images on \[0, 1\]", image=np.abs(image))
        self.refuses("array 'image': row 0 holds values that no model sees", image=image * 127.5)
        self.refuses(r"expected images on \[-1, 1\]", image=image * 100 + 100.5)
        self.refuses("array 'label': row 3 holds a label", label=np.where(np.arange(40) == 3, -1, 0))
        self.refuses("array 'noise' is 0 everywhere", noise=np.zeros_like(noise))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.refuses("array 'noise': row 5 holds .* beyond float32", noise=bad_float64(noise, 5))
            self.refuses("array 'image': row 6 holds values that no", image=bad_float64(image, 6))
        for shard_rows, block_rows in ((0, 4), (8, 0), (9, 4)):
            message = f"refused: shards of {shard_rows} rows in blocks of {block_rows} cannot be written; expected"
            self.refuses(message, shard_rows=shard_rows, block_rows=block_rows)
        for source_hash in ("", "0" * 31, "g" * 32, "0" * 33):
            self.refuses(f"source_hash is '{source_hash}', expected 32 hex", source_hash=source_hash)
        self.refuses("cannot lay out the shard: .*surrogates not allowed", source="\udcff")
        self.refuses("cannot lay out the shard: .*surrogates not allowed", program_version="\ud800")

    def test_manifests_that_cannot_be(self) -> None:
        path = self.write()
        (path / "manifest.json").unlink()
        for rows, shard_rows in ((0, 512), (ROWS, 0)):
            with self.assertRaisesRegex(TableError, f"{path}: a table of {rows} rows in shards of {shard_rows} is imp"):
                publish_manifest(path, "couplet-coupling", rows, shard_rows, {})
        with self.assertRaisesRegex(TableError, "manifest.json: holds text that is no UTF-8"):
            publish_manifest(path, "couplet-coupling", ROWS, 512, {"by": "\ud800"})
        self.assertFalse((path / "manifest.json").exists())

    def test_images_without_a_value_below_0_at_the_beginning(self) -> None:
        image = pairs(40, "f4")["image"]
        image[:10] = np.abs(image[:10])
        for shard_rows in (4, 40):
            path = self.folder / f"shards-of-{shard_rows}"
            write_coupling(path, **(pairs(40) | {"image": image}), shard_rows=shard_rows, block_rows=4)
            self.assertTrue(np.array_equal(Table(path).images(None, "stored"), image))

    def test_grey_values_as_floats(self) -> None:
        expected = self.write("bytes")
        for kind in ("f2", "f4", "f8"):
            path = self.write(kind, image=pairs(ROWS, "grey")["image"].astype(kind))
            for file in expected.iterdir():
                self.assertEqual((path / file.name).read_bytes(), file.read_bytes())
        image = pairs(40, "grey")["image"]
        image[30, 0, 0, 0] = 0.5
        with mock.patch.object(pairs_module, "_BYTES_AT_ONCE", 4 * image[:10].size):
            self.refuses("array 'image': row 30 holds other values; expected whole numbers", image=image)

    def test_files_are_closed(self) -> None:
        noise = pairs(40)["noise"]
        noise[30] = np.nan
        opened = os.listdir("/proc/self/fd")
        with self.assertRaisesRegex(TableError, "row 30 holds NaN") as caught:
            write_coupling(self.folder / "refused", **(pairs(40) | {"noise": noise}), shard_rows=4, block_rows=4)
        self.assertEqual(os.listdir("/proc/self/fd"), opened, caught.exception)
        columns = [Column("label", "int32", (), "class")]
        for path, error in ((self.folder / "a.h5", None), (self.folder / "none" / "a.h5", TableError)):
            try:
                writer = ShardWriter(path, "couplet-coupling", columns, 0, 4, 4, {})
                self.assertNotEqual(os.listdir("/proc/self/fd"), opened)
                del writer
            except TableError as found:
                self.assertIs(type(found), error)
            self.assertEqual(os.listdir("/proc/self/fd"), opened)

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
