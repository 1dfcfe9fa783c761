"""A table: a directory of shards and their manifest (docs/row-shards.md and coupling-table.md), or one shard alone."""

from __future__ import annotations

import collections
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from . import _json_text, _xxh3, order
from ._closing import Closing
from .errors import TableError
from .shard import Array, Column, Numbers, Shard

COUPLING_FORMAT, DATASET_FORMAT, SEEDS_FORMAT = "couplet-coupling", "couplet-dataset", "couplet-seeds"
MANIFEST_NAME = "manifest.json"
NEWEST_MANIFEST_VERSION = 1
MOST_OPEN_SHARDS = 64

Rows: TypeAlias = "int | slice | Sequence[int] | Numbers | None"
ImageRange = Literal["stored", "seen", "unit", "grey"]


class Table(Closing):
    """The rows of a table, by their numbers in it. What is open are the shards that were read last; it may be pickled
    and sent to other processes, which open the files anew. Its methods may be called by one thread at a time."""

    def __init__(self, path: str | os.PathLike[str], verify: bool = True) -> None:
        """Opens the directory of a table, whose manifest is checked, or one shard, whose rows then count from 0.

        verify: whether rows are compared with their checksums. Without it, damage goes unnoticed.
        """
        self.path = Path(path)
        self.verify = verify
        self._open: collections.OrderedDict[int, Shard] = collections.OrderedDict()
        self.manifest: dict[str, Any] | None = None  #: None of one shard
        facts: dict[str, Any]
        if self.path.is_dir():
            self.manifest = facts = load_manifest(self.path)
            path, summary = self.path / MANIFEST_NAME, facts["summary"]
            columns = [
                Column.from_json(column, f"{path}: column {i} of its list") for i, column in enumerate(facts["columns"])
            ]
            self.columns = {column.name: column for column in columns}
            self.shard_rows = int(facts["shard_rows"])
        else:
            shard = self._open[0] = Shard(self.path, verify)
            path, facts, summary = self.path, shard.facts(), shard.summary
            self.columns, self.shard_rows = shard.columns, shard.rows
        if not isinstance(summary, dict):
            raise TableError(f"{path}: its summary is {_json_text.excerpt(summary)}, expected an object")
        self.summary: dict[str, Any] = summary  #: figures over the whole table
        self.format: str = facts["format"]
        self.rows = int(facts["rows"])
        self.block_rows = int(facts["block_rows"])
        self.provenance: dict[str, Any] = facts["provenance"]  #: what the rows were made from

    def __len__(self) -> int:
        return self.rows

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": collections.OrderedDict()}

    def close(self) -> None:
        """Closes the shards that are open; a later read opens them again."""
        for shard in self._open.values():
            shard.close()
        self._open.clear()

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.rows // self.shard_rows)

    @property
    def content_hash(self) -> str:
        """The hash that provenances of what was made of this table know it by, 32 hexadecimal digits."""
        if self.manifest is None:
            raise TableError(f"{self.path}: is a shard; only a table has a content hash")
        return _xxh3.hash128("".join(shard["hash"] for shard in self.manifest["shards"]).encode())

    @property
    def sigma_f(self) -> float:
        """The one number that the noise is divided by for unit variance."""
        sigma = self.summary.get("sigma_f")
        squares, values = self.summary.get("sum_squares"), self.summary.get("values")
        if sigma is None and _is_positive(squares) and _is_positive(values):  # of one shard
            sigma = math.sqrt(squares / values)
        if not _is_positive(sigma):
            raise TableError(
                f"{self.path}: its summary has {_json_text.excerpt(sigma)} as sigma_f, expected a number above 0; "
                f"it is a table of format {self.format}"
            )
        return float(sigma)

    def shard(self, index: int) -> Shard:
        """Returns shard `index`, open and compared with the manifest. It is closed when many others were read."""
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index]
        shard = self._open_shard(index)
        while len(self._open) >= MOST_OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        self._open[index] = shard
        return shard

    def _open_shard(self, index: int) -> Shard:
        if self.manifest is None:
            return Shard(self.path, self.verify)
        entry = self.manifest["shards"][index]
        path = self.path / entry["name"]
        shard = Shard(path, self.verify)
        listed, bytes_listed = listed_facts(self.manifest, index), entry["bytes"]
        text = difference(shard.facts(), listed)
        if text:
            raise TableError(f"{path}: does not belong to the table of {self.path / MANIFEST_NAME}: {text}")
        if shard.bytes != bytes_listed:
            raise TableError(
                f"{path}: has {shard.bytes} bytes, {self.path / MANIFEST_NAME} lists {bytes_listed}; "
                "the shard was replaced"
            )
        return shard

    def column(self, name: str) -> Column:
        """Returns a column; an unknown one is an error that names those that are there."""
        if name not in self.columns:
            raise TableError(f"{self.path}: has no column '{name}'; its columns are {', '.join(self.columns)}")
        return self.columns[name]

    def numbers(self, rows: Rows) -> Numbers:
        """Returns the row numbers that an int, a slice, an array or None (all rows) stands for: int64 [n]."""
        if rows is None:
            return np.arange(self.rows)
        if isinstance(rows, slice):
            return np.arange(*rows.indices(self.rows))
        numbers = np.atleast_1d(np.asarray(rows))
        if numbers.size == 0:
            return np.empty(0, np.int64)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise TypeError(
                f"rows are {numbers.dtype} of shape {list(numbers.shape)}; expected integers [n] or a slice"
            )
        numbers = np.asarray(numbers, np.int64)
        bad = numbers[(numbers < 0) | (numbers >= self.rows)]
        if len(bad):
            raise IndexError(f"{self.path}: has no row {bad[0]}; its rows are 0 to {self.rows - 1}")
        return numbers

    def read(self, column: str, rows: Rows = None, out: Array | None = None) -> Array:
        """Reads rows of one column as they are stored, in the order asked for: [n, *shape].

        A block of which a quarter or more is asked for is read whole, and once; of others just the rows are read.
        `out`, of the shape and type that is returned, takes the rows where it is given.
        """
        described, numbers = self.column(column), self.numbers(rows)
        if (
            out is None
            and len(numbers)
            and len(numbers) == numbers[-1] - numbers[0] + 1
            and np.all(np.diff(numbers) == 1)
        ):
            return self._read_range(described, int(numbers[0]), len(numbers))
        out = np.empty((len(numbers), *described.shape), described.dtype) if out is None else out
        shards = numbers // self.shard_rows
        for index in np.unique(shards):
            places = np.flatnonzero(shards == index)
            within = numbers[places] - index * self.shard_rows
            self.shard(int(index)).take_into(described, within, out, places)
        return out

    def _read_range(self, column: Column, first: int, count: int) -> Array:
        parts = []
        while count > 0:
            index, within = divmod(first, self.shard_rows)
            shard = self.shard(index)
            some = min(count, shard.rows - within)
            parts.append(shard.read(column.name, within, some))
            first, count = first + some, count - some
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __getitem__(self, rows: int | slice | Sequence[int] | Numbers) -> dict[str, Array]:
        """Reads all columns of rows: of one number each [*shape], else [n, *shape]."""
        found = self.take(rows)
        return {name: values[0] for name, values in found.items()} if isinstance(rows, (int, np.integer)) else found

    def take(self, rows: Rows, columns: Sequence[str] | None = None) -> dict[str, Array]:
        """Reads these columns (all without them) of rows: [n, *shape] each."""
        numbers = self.numbers(rows)
        return {name: self.read(name, numbers) for name in (self.columns if columns is None else columns)}

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """Gives each row in turn, all columns; a block is read at a time."""
        for _, block in self.blocks():
            for i in range(len(next(iter(block.values())))):
                yield {name: values[i] for name, values in block.items()}

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, dict[str, Array]]]:
        """Gives (number of its first row, columns [n, *shape]) of each block of `block_rows` rows, in order."""
        for index in range(self.shards):
            first, end = index * self.shard_rows, min((index + 1) * self.shard_rows, self.rows)
            for row in range(first, end, self.block_rows):
                yield row, self.take(slice(row, min(row + self.block_rows, end)), columns)

    def labels(self, rows: Rows = None) -> npt.NDArray[np.int32]:
        """Reads classes, from 0: int32 [n]."""
        return self.read("label", rows)

    def noise(self, rows: Rows = None, shape: Sequence[int] | None = None) -> npt.NDArray[np.float32]:
        """Reads noise at unit variance: float32 [n, C, H, W], what is stored over `sigma_f`.

        A table of seeds holds numbers of noise alone; of it, the noise is made, of the `shape` of a row.
        """
        if self.format == SEEDS_FORMAT:
            if shape is None:
                raise TableError(f"{self.path}: is a table of seeds, whose noise is made: it takes the shape of a row")
            seed = self.provenance.get("seed")
            if type(seed) is not int or not 0 <= seed < 2**64:
                raise TableError(
                    f"{self.path}: its provenance has {_json_text.excerpt(seed)} as seed, expected a whole number "
                    "from 0 to 2^64 - 1"
                )
            return order.numbered_noise(seed, self.read("noise_id", rows), shape)
        return self.scaled(self.read("noise", rows))

    def scaled(self, stored: Array) -> npt.NDArray[np.float32]:
        """Returns stored noise [n, C, H, W] at unit variance, float32."""
        return np.asarray(stored.astype(np.float32) / np.float32(self.sigma_f))

    def images(self, rows: Rows = None, values: ImageRange = "seen") -> Array:
        """Reads images [n, C, H, W] in one of these ranges of values:

        stored: as they are in the file, uint8, float16 or float32;
        seen: as models see them, float32; of grey values x / 127.5 - 1, on [-1, 1];
        unit: float32 on [0, 1], what is seen of them being brought there and cut off;
        grey: uint8 from 0 to 255, likewise, rounded.

        Of latents there are `stored` and, of a coupling table, `seen`: it takes their decoder to make pixels of them.
        """
        return self.ranged(self.read("image", rows), values)

    def ranged(self, stored: Array, values: ImageRange = "seen") -> Array:
        """Returns stored images [n, C, H, W] in a range of values (`images`)."""
        codec = self.provenance.get("codec", "uint8") if self.format == DATASET_FORMAT else None
        if values == "stored":
            return stored
        if codec == "latent":
            raise TableError(f"{self.path}: holds latents, as means and deviations; they can be read as 'stored' alone")
        if values not in ("seen", "unit", "grey"):
            raise ValueError(f"images as {values!r}; expected 'stored', 'seen', 'unit' or 'grey'")
        if stored.dtype == np.uint8:
            if values == "grey":
                return stored
            unit = stored.astype(np.float32) / np.float32(127.5 if values == "seen" else 255)
            return unit - np.float32(1) if values == "seen" else unit
        seen = stored.astype(np.float32)
        if values == "seen":
            return seen
        grey = np.clip((seen + np.float32(1)) * np.float32(127.5), 0, 255)
        return np.rint(grey).astype(np.uint8) if values == "grey" else grey / np.float32(255)


def shard_name(index: int, shards: int) -> str:
    """Returns the name of a shard's file, index from 0: shard-00042-of-00128.h5."""
    return f"shard-{index:05d}-of-{shards:05d}.h5"


def parse_shard_name(name: str) -> tuple[int, int] | None:
    """Returns (index, number of shards) of the name of a shard's file; None for other names."""
    match = re.fullmatch(r"shard-(\d+)-of-(\d+)\.h5", name, re.ASCII)
    if not match:
        return None
    index, shards = int(match[1]), int(match[2])
    return (index, shards) if index < shards and shard_name(index, shards) == name else None


def load_manifest(directory: Path) -> dict[str, Any]:
    """Reads the manifest of a table. One that is missing, foreign, newer, damaged or at odds with itself is refused."""
    path = directory / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise TableError(
            f"{path}: does not exist: the table is not finished, or this is no table; finish or resume the stage that "
            "makes it"
        ) from None
    except OSError as error:
        raise TableError(f"{path}: cannot open to read: {error.strerror}") from error
    manifest = _json_text.parse(text, str(path))
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), str):
        raise TableError(
            f"{path}: is no manifest of a Couplet table: it has no key 'format'. Where another program made it, move "
            "it away"
        )
    if not manifest["format"].startswith("couplet-"):
        raise TableError(
            f"{path}: is a table of format {_json_text.excerpt(manifest['format'])}, expected 'couplet-...'"
        )
    version = _member(manifest, "format_version", int, path)
    if not 1 <= version <= NEWEST_MANIFEST_VERSION:
        raise TableError(
            f"{path}: has format version {version} (written by Couplet {manifest.get('program_version')}), but this "
            f"reads up to version {NEWEST_MANIFEST_VERSION}; use a newer couplet-table"
        )
    written, found = _member(manifest, "hash", str, path), manifest_hash(manifest, path)
    if written != found:
        raise TableError(
            f"{path}: was damaged or edited: its hash is {_json_text.excerpt(written)}, its content has {found}"
        )
    for key in ("rows", "shard_rows", "block_rows", "shard_format_version"):
        _member(manifest, key, int, path)
    for key, kind in (("provenance", dict), ("summary", object), ("columns", list), ("shards", list)):
        _member(manifest, key, kind, path)
    rows, shard_rows, shards = manifest["rows"], manifest["shard_rows"], manifest["shards"]
    if rows < 1 or shard_rows < 1:
        raise TableError(f"{directory}: a table of {rows} rows in shards of {shard_rows} is impossible")
    if manifest["block_rows"] < 1:
        raise TableError(f"{path}: has blocks of {manifest['block_rows']} rows, expected 1 or more")
    count = -(-rows // shard_rows)
    if len(shards) != count:
        raise TableError(f"{path}: lists {len(shards)} shards, expected {count} for {rows} rows")
    for index, shard in enumerate(shards):
        what = f"{path}: shard {index} of its list"
        name = _member(shard, "name", str, what)
        if name != shard_name(index, count):
            raise TableError(f"{what} is {_json_text.excerpt(name)}, expected {shard_name(index, count)}")
        _member(shard, "hash", str, what)
        _member(shard, "bytes", int, what)
    return manifest


def manifest_hash(manifest: dict[str, Any], path: Path) -> str:
    """Returns the hash that guards a manifest: of its text without blanks and without the key `hash`. The path is for
    messages."""
    rest = {key: value for key, value in manifest.items() if key != "hash"}
    return _xxh3.hash128(_json_text.encoded(rest, str(path)))


def listed_facts(manifest: dict[str, Any], index: int) -> dict[str, Any]:
    """Returns what Shard.facts must be of a shard that a manifest lists."""
    first = index * manifest["shard_rows"]
    return {
        "format": manifest["format"],
        "first_row": first,
        "rows": min(manifest["shard_rows"], manifest["rows"] - first),
        "block_rows": manifest["block_rows"],
        "provenance": manifest["provenance"],
        "columns": manifest["columns"],
    }


def difference(found: Any, expected: Any) -> str:
    """Returns the first differences of two JSON values, "a.b is 1, expected 2; ...", or "" where they are equal."""
    one, other = dict(_leaves(found, ())), dict(_leaves(expected, ()))
    keys = [key for key in sorted({*one, *other}) if key not in one or key not in other or one[key] != other[key]]

    def shown(values: dict[tuple[str, ...], Any], key: tuple[str, ...]) -> str:
        return _json_text.excerpt(values[key], 1000) if key in values else "absent"

    texts = [f"{'.'.join(key) or 'value'} is {shown(one, key)}, expected {shown(other, key)}" for key in keys]
    return "; ".join(texts[:5] + ([f"and {len(texts) - 5} more"] if len(texts) > 5 else []))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, (dict, list)) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, str(key)))
    else:
        yield path, None if isinstance(value, (dict, list)) else value


def _member(value: Any, key: str, kind: type, what: object) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise TableError(f"{what}: has no key '{key}'")
    if not isinstance(value[key], kind) or (kind is int and isinstance(value[key], bool)):
        raise TableError(
            f"{what}: has {_json_text.excerpt(value[key])} under the key '{key}', where something else is expected"
        )
    return value[key]


def _is_positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf
