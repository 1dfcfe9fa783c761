"""Tables made of arrays, byte for byte as `couplet import` makes them (by the same version of the HDF5 library)."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from . import _json_text, _xxh3
from ._closing import OpenFile
from ._version import __version__
from .errors import TableError
from .pairs import Pairs, Rows
from .shard import (
    CHECKSUM_GROUP,
    DEEPEST_ATTRIBUTE,
    NEWEST_SHARD_VERSION,
    ROW_CHECKSUM_GROUP,
    Array,
    Column,
    Shard,
    hash_rows,
)
from .table import COUPLING_FORMAT, MANIFEST_NAME, NEWEST_MANIFEST_VERSION, difference, manifest_hash, shard_name
from .verify import content_hash

_ATTRIBUTES_IN_HEADER = 32
_counter = itertools.count()


def write_coupling(
    directory: str | os.PathLike[str],
    noise: Rows | npt.ArrayLike,
    image: Rows | npt.ArrayLike,
    label: Rows | npt.ArrayLike | None = None,
    *,
    source: str = "arrays",
    source_hash: str | None = None,
    shard_rows: int = 8192,
    block_rows: int = 256,
    program_version: str = __version__,
) -> float:
    """Writes a coupling table of kind `imported` to a directory that must not exist, and returns σ_f, what its noise is
    to be divided by. The directory appears whole or not at all; some 16 MiB of rows are in memory at a time.

    noise: float16 or float32 [n, C, S, S]; float64 is stored as float32. Every value is finite.
    image: of the same shape; floats as models see them, on [-1, 1] or thereabouts, or grey values from 0 to 255: uint8,
    or floats whose first 16 MiB are whole, which are stored as uint8.
    label: integers [n], 0 to 2³¹ - 1; without it every label is 0.
    All three may be arrays, memory maps, data sets of h5py, PyTorch's tensors of the CPU, or lists.
    source, source_hash: what provenance says of where the pairs came from. The hash is XXH3-128, of 32 hexadecimal
    digits; without one, that of the bytes of noise, image and label as they are stored, which reads them twice.
    """
    final = Path(directory)
    pairs = Pairs(str(final), noise, image, label)
    if shard_rows < 1 or block_rows < 1 or shard_rows % block_rows:
        raise TableError(
            f"{final}: shards of {shard_rows} rows in blocks of {block_rows} cannot be written; expected whole "
            "blocks of one row or more"
        )
    if source_hash is not None and not re.fullmatch("[0-9a-fA-F]{32}", str(source_hash)):
        raise TableError(f"{final}: source_hash is {source_hash!r}, expected 32 hexadecimal digits")
    provenance = {
        "kind": "imported",
        "flips": False,
        "replicates": 1,
        "source": source,
        "source_hash": pairs.source_hash() if source_hash is None else source_hash,
    }
    with _pending(final) as pending:
        squares, values = 0.0, 0
        count = -(-pairs.rows // shard_rows)
        for index in range(count):
            first = index * shard_rows
            rows = min(shard_rows, pairs.rows - first)
            path = pending / shard_name(index, count)
            sum_squares, shard_values = 0.0, rows * int(np.prod(pairs.noise.shape[1:]))
            with ShardWriter(
                path, COUPLING_FORMAT, pairs.columns, first, rows, block_rows, provenance, program_version
            ) as writer:
                for start, columns in pairs.slices(first, rows, block_rows):
                    writer.write({**columns, **_numbering(start, len(columns["label"]))})
                    sum_squares = _add_squares(sum_squares, columns["noise"])
                writer.finish({"sum_squares": sum_squares, "values": shard_values, "nonfinite_rows": 0})
            squares, values = squares + sum_squares, values + shard_values
        sigma_f = float(np.sqrt(squares / values))
        if sigma_f == 0:
            raise TableError(f"{final}: array 'noise' is 0 everywhere")
        publish_manifest(
            pending, COUPLING_FORMAT, pairs.rows, shard_rows, {"sigma_f": sigma_f, "nonfinite_rows": 0}, program_version
        )
    return sigma_f


class ShardWriter(OpenFile):
    """Writes one shard: its rows in order, then `finish`. What is there before is no shard that a reader takes."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        format: str,
        columns: Sequence[Column],
        first_row: int,
        rows: int,
        block_rows: int,
        provenance: Mapping[str, Any],
        program_version: str = __version__,
    ) -> None:
        """Makes the file in its full size. `first_row` is the number of its row 0 in the whole table."""
        self.path, self.rows, self.block_rows = Path(path), rows, block_rows
        self.columns = {column.name: column for column in columns}
        self._check(format, columns, first_row)
        self._written = 0
        self._offsets: dict[str, tuple[int, int, int]] = {}
        self._sums: dict[str, tuple[list[Array], list[Array]]] = {column.name: ([], []) for column in columns}
        with self._errors("lay out the shard"):
            creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
            creation.set_obj_track_times(False)
            creation.set_link_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
            creation.set_attr_phase_change(_ATTRIBUTES_IN_HEADER, _ATTRIBUTES_IN_HEADER // 2)
            file = h5py.h5f.create(os.fsencode(self.path), h5py.h5f.ACC_TRUNC, creation, _file_access())
            try:
                self._lay_out(file, format, first_row, dict(provenance), program_version)
            finally:
                file.close()
            self._file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)

    def _check(self, format: str, columns: Sequence[Column], first_row: int) -> None:
        if not format.startswith("couplet-") or first_row < 0 or self.rows < 1 or self.block_rows < 1:
            raise ValueError(
                f"{self.path}: {self.rows} rows of format '{format}' from row {first_row} on in blocks of "
                f"{self.block_rows} cannot be written"
            )
        for column in columns:
            usable = column.name not in ("", ".", CHECKSUM_GROUP, ROW_CHECKSUM_GROUP) and not set("/\0") & set(
                column.name
            )
            if not usable or len(self.columns) != len(columns) or min(column.shape, default=1) < 1:
                raise ValueError(f"{self.path}: column '{column.name}' of shape {list(column.shape)} cannot be written")

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, UnicodeError) as error:  # UnicodeError: of text that is no UTF-8
            raise TableError(f"{self.path}: cannot {doing}: {error}") from error

    def _lay_out(
        self, file: h5py.h5f.FileID, format: str, first_row: int, provenance: dict[str, Any], program_version: str
    ) -> None:
        root = h5py.h5g.open(file, b"/")
        _write_text(root, "format", format)
        _write_integer(root, "format_version", NEWEST_SHARD_VERSION)
        _write_text(root, "program_version", program_version)
        _write_integer(root, "first_row", first_row)
        _write_integer(root, "rows", self.rows)
        _write_integer(root, "block_rows", self.block_rows)
        self._write_guarded(root, "provenance", provenance)
        offsets: dict[str, list[int]] = {}
        for column in self.columns.values():
            data = _create_data(root, column.name, h5py.h5t.py_create(column.dtype), (self.rows, *column.shape))
            _write_text(data, "meaning", column.meaning)
            offsets[column.name] = [data.get_offset()]
        blocks = -(-self.rows // self.block_rows)
        for name, count, what in (
            (CHECKSUM_GROUP, blocks, "block of rows"),
            (ROW_CHECKSUM_GROUP, self.rows, "row"),
        ):
            creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
            creation.set_obj_track_times(False)
            group = h5py.h5g.create(root, name.encode(), None, creation)
            for column in self.columns.values():
                data = _create_data(group, column.name, h5py.h5t.STD_U64LE, (count,))
                _write_text(data, "meaning", f"XXH3-64 of the bytes of each {what} of /{column.name}")
                offsets[column.name].append(data.get_offset())
        self._offsets = {name: (places[0], places[1], places[2]) for name, places in offsets.items()}

    def _write_guarded(self, root: h5py.h5g.GroupID, name: str, value: dict[str, Any]) -> None:
        text = _json_text.canonical(value)
        _json_text.parse(text.encode(), f"{self.path}: its {name}", DEEPEST_ATTRIBUTE)
        _write_text(root, name, text)
        _write_text(root, name + "_hash", _xxh3.hash128(text.encode()))

    def write(self, rows: Mapping[str, Array]) -> None:
        """Appends rows of all columns, [n, *shape] each: whole blocks, or all that are left."""
        count = len(next(iter(rows.values())))
        end = self._written + count
        if set(rows) != set(self.columns) or end > self.rows or (end % self.block_rows and end != self.rows):
            raise ValueError(
                f"{self.path}: was given rows {self._written} to {end - 1} of the columns {', '.join(rows)}; expected "
                f"whole blocks of {self.block_rows} rows, {self.rows} in all, of {', '.join(self.columns)}"
            )
        for name, column in self.columns.items():
            values = np.ascontiguousarray(rows[name], column.dtype)
            if values.shape != (count, *column.shape) or rows[name].dtype != column.dtype:
                raise ValueError(
                    f"{self.path}: column '{name}' was given {rows[name].dtype} {list(rows[name].shape)}, expected "
                    f"{column.type} {[count, *column.shape]}"
                )
            self._write_at(values, self._offsets[name][0] + self._written * column.row_bytes)
            whole = count // self.block_rows * self.block_rows
            blocks, single = self._sums[name]
            if whole:
                blocks.append(hash_rows(values[:whole].reshape(whole // self.block_rows, -1)))
            if whole < count:
                blocks.append(hash_rows(values[whole:].reshape(1, -1)))
            single.append(hash_rows(values))
        self._written = end

    def _write_at(self, values: Array, offset: int) -> None:
        view = values.reshape(-1).view(np.uint8).data
        with self._errors(f"write {len(view)} bytes"):
            while len(view):
                written = os.pwrite(self._file, view, offset)
                view, offset = view[written:], offset + written

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Stores checksums and summary, and flushes the file to the disk. Fails where rows are missing."""
        if self._written != self.rows:
            raise ValueError(f"{self.path}: was given {self._written} rows of {self.rows}: it cannot be finished")
        for name, (blocks, single) in self._sums.items():
            for sums, offset in zip((blocks, single), self._offsets[name][1:]):
                self._write_at(np.concatenate(sums).astype("<u8"), offset)
        self.close()
        with self._errors("store the summary"):
            file = h5py.h5f.open(os.fsencode(self.path), h5py.h5f.ACC_RDWR, _file_access())
            try:
                self._write_guarded(h5py.h5g.open(file, b"/"), "summary", dict(summary))
            finally:
                file.close()
            _sync(self.path)


def publish_manifest(
    directory: str | os.PathLike[str],
    format: str,
    rows: int,
    shard_rows: int,
    summary: Mapping[str, Any],
    program_version: str = __version__,
) -> None:
    """Closes a table whose shards are all there: opens each, checks that they belong together, and writes the manifest
    last, under a temporary name that is then renamed."""
    folder = Path(directory)
    if rows < 1 or shard_rows < 1:
        raise TableError(
            f"{folder}: a table of {rows} rows in shards of {shard_rows} is impossible; expected 1 or more"
        )
    count = -(-rows // shard_rows)
    first_facts: dict[str, Any] = {}
    entries, newest = [], 1
    for index in range(count):
        name, first = shard_name(index, count), index * shard_rows
        with Shard(folder / name) as shard:
            first_facts = first_facts or shard.facts()
            expected = {**first_facts, "format": format, "first_row": first, "rows": min(shard_rows, rows - first)}
            text = difference(shard.facts(), expected)
            if text:
                raise TableError(f"{folder}: the table cannot be closed: {name} against {shard_name(0, count)}: {text}")
            newest = max(newest, shard.format_version)
            entries.append(
                {
                    "name": name,
                    "first_row": first,
                    "rows": shard.rows,
                    "bytes": shard.bytes,
                    "hash": content_hash(shard),
                }
            )
    manifest = {
        "format": format,
        "format_version": NEWEST_MANIFEST_VERSION,
        "shard_format_version": newest,
        "program_version": program_version,
        "rows": rows,
        "shard_rows": shard_rows,
        "block_rows": first_facts["block_rows"],
        "columns": first_facts["columns"],
        "provenance": first_facts["provenance"],
        "summary": dict(summary),
        "shards": entries,
    }
    manifest["hash"] = manifest_hash(manifest, folder / MANIFEST_NAME)
    with _pending(folder / MANIFEST_NAME) as pending:
        pending.write_text(_json_text.indented(manifest) + "\n", encoding="utf-8")


def _numbering(first: int, rows: int) -> dict[str, Array]:
    return {
        "sample": np.arange(first, first + rows, dtype="<i8"),
        "flip": np.zeros(rows, "u1"),
        "replicate": np.zeros(rows, "<i4"),
    }


def _add_squares(total: float, noise: Array) -> float:
    """Adds squares one by one in float64, as the program does: in another order the last digits would differ."""
    flat = noise.reshape(-1)
    for start in range(0, len(flat), 1 << 16):
        values = flat[start : start + (1 << 16)].astype(np.float64)
        total = float(np.add.accumulate(np.concatenate([[total], values * values]))[-1])
    return total


def _file_access() -> h5py.h5p.PropFAID:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    return access


def _create_data(
    group: h5py.h5g.GroupID, name: str, kind: h5py.h5t.TypeID, shape: tuple[int, ...]
) -> h5py.h5d.DatasetID:
    """Contiguous, its space reserved at once and never filled; object times are off, so that equal rows give equal
    bytes."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return h5py.h5d.create(group, name.encode(), kind, h5py.h5s.create_simple(shape), creation)


def _write_text(owner: Any, name: str, text: str) -> None:
    data = text.encode()
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(max(len(data), 1))
    kind.set_cset(h5py.h5t.CSET_UTF8)
    kind.set_strpad(h5py.h5t.STR_NULLPAD)
    attribute = h5py.h5a.create(owner, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR))
    attribute.write(np.array(data, f"S{max(len(data), 1)}"), mtype=kind)


def _write_integer(owner: Any, name: str, value: int) -> None:
    attribute = h5py.h5a.create(owner, name.encode(), h5py.h5t.STD_I64LE, h5py.h5s.create(h5py.h5s.SCALAR))
    attribute.write(np.array(value, np.int64))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _pending(final: Path) -> Iterator[Path]:
    """Gives a temporary name beside `final`, for a file, or a directory that is made, and publishes it at the end. A
    directory that is there already is refused, and an error leaves nothing."""
    is_directory = final.name != MANIFEST_NAME
    name = f".partial-{socket.gethostname()}-{os.getpid()}-{next(_counter)}-{final.name}"
    pending = final.parent / name[:239]
    try:
        if is_directory:
            if os.path.lexists(final):
                raise TableError(f"{final}: exists already and is not overwritten; remove it or choose another place")
            pending.mkdir()
        yield pending
        _sync(pending)
        os.rename(pending, final)
        _sync(final.parent)
    except OSError as error:
        raise TableError(f"{final}: cannot be written: {error}") from error
    finally:
        if is_directory:
            shutil.rmtree(pending, ignore_errors=True)
        else:
            pending.unlink(missing_ok=True)
