"""One row shard: an HDF5 file of rows with a checksum for each row and each block of rows (docs/row-shards.md)."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from . import _json_text, _xxh3
from ._closing import OpenFile
from .errors import TableError

NEWEST_SHARD_VERSION = 2
CHECKSUM_GROUP, ROW_CHECKSUM_GROUP = "checksums", "row_checksums"
DEEPEST_ATTRIBUTE = _json_text.DEEPEST - 1
REMEDY = "delete the shard and make or fetch it again"
_TYPES = {"uint8": "u1", "int32": "<i4", "int64": "<i8", "float16": "<f2", "float32": "<f4", "float64": "<f8"}
_TYPE_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}

_BYTES_AT_ONCE = 16 << 20  # of blocks that are read and hashed together

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Column:
    """One data set of a shard: an array [rows, *shape]."""

    name: str
    type: str  #: uint8, int32, int64, float16, float32 or float64
    shape: tuple[int, ...]  #: of one row
    meaning: str  #: one phrase, with the unit

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its values, little-endian."""
        return np.dtype(_TYPES[self.type])

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64))

    @classmethod
    def from_json(cls, value: Any, what: str) -> Column:
        """Returns the column of such an entry; `what` says in messages where it stands."""
        keys = {"name": str, "type": str, "shape": list, "meaning": str}
        good = isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in keys.items())
        if good and value["type"] in _TYPES and all(type(n) is int and n > 0 for n in value["shape"]):
            return cls(value["name"], value["type"], tuple(value["shape"]), value["meaning"])
        raise TableError(
            f"{what} is {_json_text.excerpt(value)}, expected an object of the texts name, type ({', '.join(_TYPES)}) "
            "and meaning, and shape, a list of numbers from 1 on"
        )

    def as_json(self) -> dict[str, Any]:
        """The entry of a manifest's `columns`."""
        return {"name": self.name, "type": self.type, "shape": list(self.shape), "meaning": self.meaning}


@dataclasses.dataclass(frozen=True)
class _Place:
    offset: int  # of row 0 in the file
    checksums: npt.NDArray[np.uint64]  # [blocks]
    row_checksums_offset: int  # 0 where the shard has none


class Shard(OpenFile):
    """A shard open for reading. Every row that it returns was compared with its checksum or its block's, unless it was
    opened with verify=False. HDF5 is done with when the shard is open: rows are read from the file itself, by any
    number of threads, and after a fork too."""

    def __init__(self, path: str | os.PathLike[str], verify: bool = True) -> None:
        """Opens the file and checks format, version, shapes and places; a file that is cut, foreign or newer than this
        package is refused."""
        self.path = Path(path)
        self.verify = verify
        _check_superblock(self.path)
        try:
            # HDF5 reads through the file that is open already: without locks, and though another is renamed over it.
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self.bytes = os.fstat(self._file).st_size  #: of the file
            with open(self._file, "rb", closefd=False) as file, h5py.File(file, "r") as hdf5:
                self._load(hdf5)
        # TypeError: of a column of a type that numpy has not.
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            self.close()
            raise TableError(f"{self.path}: cannot read the shard's metadata: {error}; {REMEDY}") from error
        except TableError:
            self.close()
            raise

    def _load(self, hdf5: h5py.File) -> None:
        root = hdf5["/"]
        text, integer = functools.partial(_text, self.path), functools.partial(_integer, self.path)
        self.format = text(root, "the root group", "format")
        if not self.format.startswith("couplet-"):
            raise TableError(f"{self.path}: has format '{self.format}', expected 'couplet-...'")
        self.format_version = integer(root, "the root group", "format_version")
        self.program_version = text(root, "the root group", "program_version")
        if not 1 <= self.format_version <= NEWEST_SHARD_VERSION:
            raise TableError(
                f"{self.path}: has format version {self.format_version} (written by Couplet {self.program_version}), "
                f"but this reads up to version {NEWEST_SHARD_VERSION}; use a newer couplet-table"
            )
        self.first_row = integer(root, "the root group", "first_row")
        self.rows = integer(root, "the root group", "rows")
        self.block_rows = integer(root, "the root group", "block_rows")
        if self.first_row < 0 or self.rows < 1 or self.block_rows < 1:
            raise TableError(
                f"{self.path}: claims {self.rows} rows from row {self.first_row} in blocks of {self.block_rows}; "
                "expected positive numbers"
            )
        self.provenance: dict[str, Any] = self._guarded_json(root, "provenance")
        if not isinstance(self.provenance, dict):
            found = _json_text.excerpt(self.provenance)
            raise TableError(f"{self.path}: attribute 'provenance' is {found}, expected a JSON object")
        self.summary: Any = self._guarded_json(root, "summary")  #: of the writer's choice; a JSON object, of ours
        self.columns: dict[str, Column] = {}
        self._places: dict[str, _Place] = {}
        for name in self._column_names(root):
            self._load_column(hdf5, name)

    def _guarded_json(self, root: h5py.Group, name: str) -> Any:
        text = _bytes(self.path, root, "the root group", name)
        expected = _text(self.path, root, "the root group", name + "_hash")
        found = _xxh3.hash128(text)
        if found != expected:
            raise TableError(f"{self.path}: attribute '{name}' is damaged: hash {found}, expected {expected}; {REMEDY}")
        what = f"{self.path}: attribute '{name}'"
        return _json_text.parse(text, what, DEEPEST_ATTRIBUTE)

    @property
    def has_row_checksums(self) -> bool:
        """Shards of version 1 have checksums of blocks alone: of any row, the whole block is read."""
        return self.format_version >= 2

    @property
    def block_count(self) -> int:
        """The number of blocks; the last may be short."""
        return -(-self.rows // self.block_rows)

    def _column_names(self, root: h5py.Group) -> list[str]:
        order = root.id.get_create_plist().get_link_creation_order()
        index = h5py.h5.INDEX_CRT_ORDER if order & h5py.h5p.CRT_ORDER_INDEXED else h5py.h5.INDEX_NAME
        names: list[str] = []
        root.id.links.iterate(lambda name: names.append(name.decode()), idx_type=index)
        for name in names:
            if root.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise TableError(f"{self.path}: '{name}' is a link to elsewhere, expected a data set")
        groups = {CHECKSUM_GROUP} | ({ROW_CHECKSUM_GROUP} if self.has_row_checksums else set())
        names = [name for name in names if name not in groups]
        if not names:
            raise TableError(f"{self.path}: holds no columns")
        return names

    def _load_column(self, hdf5: h5py.File, name: str) -> None:
        data = hdf5[name]
        if not isinstance(data, h5py.Dataset):
            raise TableError(f"{self.path}: '{name}' is no data set")
        shape = data.shape or ()
        if not shape or shape[0] != self.rows:
            raise TableError(f"{self.path}: data set '{name}' has shape {list(shape)}, expected {self.rows} rows first")
        if data.dtype not in _TYPE_NAMES:
            raise TableError(
                f"{self.path}: data set '{name}' has an element type that is not read; expected little-endian "
                f"{', '.join(list(_TYPES)[:-1])} or {list(_TYPES)[-1]}"
            )
        if 0 in shape:
            raise TableError(f"{self.path}: data set '{name}' has the impossible shape {list(shape)}")
        column = Column(name, _TYPE_NAMES[data.dtype], tuple(shape[1:]), _text(self.path, data, name, "meaning"))
        offset = self._locate(data, name, column.row_bytes * self.rows)
        blocks = self._locate_checksums(hdf5, CHECKSUM_GROUP, name, self.block_count)
        rows = self._locate_checksums(hdf5, ROW_CHECKSUM_GROUP, name, self.rows) if self.has_row_checksums else 0
        checksums = np.empty(self.block_count, "<u8")
        self.read_at(checksums, blocks)
        self.columns[name] = column
        self._places[name] = _Place(offset, checksums.astype(np.uint64), rows)

    def _locate(self, data: h5py.Dataset, name: str, length: int) -> int:
        creation = data.id.get_create_plist()
        if creation.get_layout() != h5py.h5d.CONTIGUOUS or creation.get_external_count() != 0:
            raise TableError(
                f"{self.path}: data set '{name}' is chunked, compact or external; expected a contiguous one"
            )
        offset = data.id.get_offset()
        if offset is None or offset + length > self.bytes:
            raise TableError(
                f"{self.path}: data set '{name}' of {length} bytes does not lie inside the file of {self.bytes} bytes"
            )
        return int(offset)

    def _locate_checksums(self, hdf5: h5py.File, group: str, column: str, count: int) -> int:
        name = f"{group}/{column}"
        data = hdf5.get(name)
        if not isinstance(data, h5py.Dataset):
            raise TableError(f"{self.path}: data set '{name}' is missing")
        if data.shape != (count,) or data.dtype != np.dtype("<u8"):
            shape = list(data.shape or ())
            raise TableError(f"{self.path}: data set '{name}' has shape {shape}, expected [{count}] of uint64")
        return self._locate(data, name, 8 * count)

    def __reduce__(self) -> tuple[type[Shard], tuple[Path, bool]]:
        """A copy, in this process or another, opens the file anew."""
        return type(self), (self.path, self.verify)

    def __len__(self) -> int:
        return self.rows

    def read_at(self, out: Array, offset: int) -> None:
        """Fills a contiguous array with the bytes of the file from `offset` on, without any check."""
        view = out.reshape(-1).view(np.uint8).data
        while len(view):
            try:
                count = os.preadv(self._file, [view], offset)
            except OSError as error:
                raise TableError(f"{self.path}: cannot read {len(view)} bytes at {offset}: {error.strerror}") from error
            if count == 0:
                raise TableError(f"{self.path}: truncated: it ends at byte {offset}, {len(view)} more were expected")
            view, offset = view[count:], offset + count

    def column(self, name: str) -> Column:
        """Returns a column; an unknown one is an error that names those that are there."""
        if name not in self.columns:
            raise TableError(f"{self.path}: has no column '{name}'; its columns are {', '.join(self.columns)}")
        return self.columns[name]

    def offset(self, name: str) -> int:
        """Returns the byte of the file at which the column's row 0 lies; the rows follow each other."""
        return self._places[self.column(name).name].offset

    def checksums(self, name: str) -> npt.NDArray[np.uint64]:
        """Returns the stored XXH3-64 of each block of a column: [blocks]."""
        return self._places[self.column(name).name].checksums

    def row_checksums(self, name: str, first: int, count: int) -> npt.NDArray[np.uint64]:
        """Reads the stored XXH3-64 of rows: [count], or [0] of a shard of version 1."""
        sums = np.empty(count if self.has_row_checksums else 0, "<u8")
        self.read_at(sums, self._places[self.column(name).name].row_checksums_offset + 8 * first)
        return sums.astype(np.uint64, copy=False)

    def read(self, name: str, first: int = 0, count: int | None = None) -> Array:
        """Reads `count` rows from row `first` of the shard on (all behind it without `count`): [count, *shape]."""
        count = self.rows - first if count is None else count
        column = self.column(name)
        if first < 0 or count < 0 or first + count > self.rows:
            raise IndexError(
                f"{self.path}: column '{name}': cannot read {count} rows from row {first}; it has {self.rows} rows"
            )
        out = np.empty((count, *column.shape), column.dtype)
        self._read_into(column, first, out)
        return out

    def take(self, name: str, rows: npt.ArrayLike) -> Array:
        """Reads the rows of these numbers (of the shard), in any order: [len(rows), *shape]. Of a block many of whose
        rows are asked for, the whole is read, once; of others the rows alone."""
        column = self.column(name)
        wanted = np.asarray(rows, np.int64).reshape(-1)
        out = np.empty((len(wanted), *column.shape), column.dtype)
        self.take_into(column, wanted, out, np.arange(len(wanted)))
        return out

    def take_into(self, column: Column, wanted: Numbers, out: Array, places: Numbers) -> None:
        """Reads row wanted[i] to out[places[i]]."""
        if len(wanted) and not (0 <= wanted.min() and wanted.max() < self.rows):
            bad = wanted[(wanted < 0) | (wanted >= self.rows)][0]
            raise IndexError(f"{self.path}: has no row {bad}; its rows are 0 to {self.rows - 1}")
        order = np.argsort(wanted, kind="stable")
        wanted, places = wanted[order], places[order]
        blocks, starts, counts = np.unique(wanted // self.block_rows, return_index=True, return_counts=True)
        lengths = np.minimum(self.block_rows, self.rows - blocks * self.block_rows)
        whole = (4 * counts >= lengths) | (self.verify and not self.has_row_checksums)
        at_once = max(1, _BYTES_AT_ONCE // (self.block_rows * column.row_bytes))
        for full in (True, False):  # blocks of one length are hashed together
            some = np.flatnonzero(whole & ((lengths == self.block_rows) == full))
            for begin in range(0, len(some), at_once):
                self._take_of_blocks(
                    column, blocks, some[begin : begin + at_once], (starts, counts), wanted, out, places
                )
        for i in np.flatnonzero(~whole):
            part = slice(starts[i], starts[i] + counts[i])
            self._take_of_block(column, wanted[part], out, places[part])

    def _take_of_blocks(
        self,
        column: Column,
        blocks: Numbers,
        some: Numbers,
        parts: tuple[Numbers, Numbers],
        wanted: Numbers,
        out: Array,
        places: Numbers,
    ) -> None:
        """Reads whole blocks of one length, blocks[some], and the rows that are wanted of them."""
        firsts = blocks[some] * self.block_rows
        length = min(self.block_rows, self.rows - int(firsts[0]))
        read = np.empty((len(some), length, *column.shape), column.dtype)
        for i, first in enumerate(firsts):
            self.read_at(read[i], self._places[column.name].offset + int(first) * column.row_bytes)
        if self.verify:
            self._check_blocks(column, blocks[some], read)
        for i, first, start, count in zip(range(len(some)), firsts, parts[0][some], parts[1][some]):
            rows = wanted[start : start + count] - first
            whole = count == length and np.array_equal(rows, np.arange(length))
            out[places[start : start + count]] = read[i] if whole else read[i][rows]

    def _take_of_block(self, column: Column, wanted: Numbers, out: Array, places: Numbers) -> None:
        """Reads single rows."""
        offset = self._places[column.name].offset
        found = np.empty((len(wanted), *column.shape), column.dtype)
        runs = np.flatnonzero(np.diff(wanted, prepend=wanted[0] - 2) > 1)
        for start, end in zip(runs, np.append(runs[1:], len(wanted))):
            rows, first = wanted[start:end], int(wanted[start])
            run = np.empty((int(rows[-1]) - first + 1, *column.shape), column.dtype)
            self.read_at(run, offset + first * column.row_bytes)
            found[start:end] = run[rows - first]
        if self.verify:
            stored = self.row_checksums(column.name, int(wanted[0]), int(wanted[-1] - wanted[0]) + 1)
            self._check_rows(column, wanted, found, stored[wanted - wanted[0]])
        out[places] = found

    def _read_into(self, column: Column, first: int, out: Array) -> None:
        """Reads rows to `out`, which are checked by their blocks where these are whole, else by their own checksums."""
        end = first + len(out)
        self.read_at(out, self._places[column.name].offset + first * column.row_bytes)
        if not self.verify or not len(out):
            return
        block_first = -(-first // self.block_rows)
        block_end = end // self.block_rows if end < self.rows else self.block_count
        if block_first >= block_end:
            return self._check_part(column, first, out)
        full_first, full_end = block_first * self.block_rows, min(block_end * self.block_rows, self.rows)
        self._check_part(column, first, out[: full_first - first])
        self._check_whole(column, block_first, out[full_first - first : full_end - first])
        self._check_part(column, full_end, out[full_end - first :])

    def _check_part(self, column: Column, first: int, rows: Array) -> None:
        """Checks rows that are less than their blocks."""
        if not len(rows):
            return
        if self.has_row_checksums:
            stored = self.row_checksums(column.name, first, len(rows))
            return self._check_rows(column, np.arange(first, first + len(rows)), rows, stored)
        for block in range(first // self.block_rows, (first + len(rows) - 1) // self.block_rows + 1):
            start = block * self.block_rows
            whole = np.empty((min(self.block_rows, self.rows - start), *column.shape), column.dtype)
            self._read_into(column, start, whole)

    def _check_whole(self, column: Column, first_block: int, rows: Array) -> None:
        """Checks the rows of whole blocks that follow each other; the last may be the shard's short one."""
        whole = len(rows) // self.block_rows
        cut = whole * self.block_rows
        if whole:
            self._check_blocks(column, np.arange(first_block, first_block + whole), rows[:cut].reshape(whole, -1))
        if cut < len(rows):
            self._check_blocks(column, np.array([first_block + whole]), rows[cut:].reshape(1, -1))

    def _check_blocks(self, column: Column, blocks: Numbers, rows: Array) -> None:
        """Checks blocks of one length, [n, ...]."""
        found, expected = hash_rows(rows), self._places[column.name].checksums[blocks]
        for i in np.flatnonzero(found != expected)[:1]:
            first = blocks[i] * self.block_rows
            last = min(first + self.block_rows, self.rows) - 1
            raise TableError(
                f"{self.path}: column '{column.name}' is damaged in rows {first} to {last} (block {blocks[i]}): "
                f"checksum {found[i]:016x}, expected {expected[i]:016x}; {REMEDY}"
            )

    def _check_rows(self, column: Column, numbers: Numbers, rows: Array, expected: npt.NDArray[np.uint64]) -> None:
        found = hash_rows(rows)
        for i in np.flatnonzero(found != expected)[:1]:
            raise TableError(
                f"{self.path}: column '{column.name}' is damaged in row {numbers[i]}, or that row's checksum is: "
                f"checksum {found[i]:016x}, expected {expected[i]:016x}; {REMEDY}"
            )

    def facts(self) -> dict[str, Any]:
        """What is the same in all shards of a table, and the place of this one."""
        return {
            "format": self.format,
            "first_row": self.first_row,
            "rows": self.rows,
            "block_rows": self.block_rows,
            "provenance": self.provenance,
            "columns": [column.as_json() for column in self.columns.values()],
        }


def hash_rows(rows: Array) -> npt.NDArray[np.uint64]:
    """Returns the XXH3-64 of the bytes of each row of a contiguous array [n, ...]: [n]."""
    if not len(rows):
        return np.empty(0, np.uint64)
    return _xxh3.hash64(rows.reshape(len(rows), -1).view(np.uint8))


def _check_superblock(path: Path) -> None:
    """Tells what is no shard from what is a damaged one before HDF5 looks at the file."""
    try:
        with open(path, "rb") as file:
            block, size = file.read(48), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise TableError(f"{path}: cannot open to read: {error.strerror}") from error
    if size == 0:
        raise TableError(f"{path}: truncated: the file is empty")
    if block[:8] != b"\x89HDF\r\n\x1a\n":
        raise TableError(
            f"{path}: is no HDF5 file, or a shard whose writer did not finish, or its first bytes are damaged"
        )
    if len(block) < 48:
        raise TableError(f"{path}: truncated: {size} bytes")
    if block[8] not in (2, 3) or block[9:11] != b"\x08\x08" or block[12:20] != bytes(8):
        raise TableError(
            f"{path}: is an HDF5 file that Couplet did not write (superblock version {block[8]}, expected 2 or 3), or "
            "is damaged"
        )
    expected = int.from_bytes(block[28:36], "little")
    if size != expected:
        what = "truncated" if size < expected else "has trailing bytes"
        raise TableError(f"{path}: {what}: {size} bytes, expected {expected}; delete it and make or fetch it again")


def _attribute(path: Path, owner: Any, owner_name: str, name: str) -> h5py.h5a.AttrID:
    if not h5py.h5a.exists(owner.id, name.encode()):
        raise TableError(f"{path}: {owner_name} has no attribute '{name}'; it is unfinished or no Couplet row shard")
    return h5py.h5a.open(owner.id, name.encode())


def _integer(path: Path, owner: Any, owner_name: str, name: str) -> int:
    attribute = _attribute(path, owner, owner_name, name)
    if not isinstance(attribute.get_type(), h5py.h5t.TypeIntegerID) or attribute.shape != ():
        raise TableError(f"{path}: attribute '{name}' of {owner_name} is no integer")
    value = np.zeros((), np.int64)
    attribute.read(value)
    return int(value)


def _text(path: Path, owner: Any, owner_name: str, name: str) -> str:
    try:
        return _bytes(path, owner, owner_name, name).decode()
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: attribute '{name}' of {owner_name} is no UTF-8 text: {error}") from None


def _bytes(path: Path, owner: Any, owner_name: str, name: str) -> bytes:
    attribute = _attribute(path, owner, owner_name, name)
    kind = attribute.get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str() or attribute.shape != ():
        raise TableError(f"{path}: attribute '{name}' of {owner_name} is no text of fixed length")
    value = np.zeros((), f"S{kind.get_size()}")
    attribute.read(value, mtype=kind)
    text: bytes = value.tobytes()
    return text.split(b"\0", 1)[0]
